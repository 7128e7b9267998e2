"""Training that waits for data says why, and what to change."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dacapo_core.data.boxes import Voxels
from dacapo_core.data.loading_bottleneck import (
    WaitingCause,
    WorkTimes,
    waiting_advice,
    waiting_cause,
)
from dacapo_core.data.volume_placement import Place
from dacapo_core.experiments.datasplits.datasets.arrays.array import NumpyArray
from dacapo_core.experiments.datasplits.datasets.labels import ChannelLabels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.train import train_until
from dacapo_core.training.run import Run
from dacapo_core.training.training_stats import TrainingStats


@pytest.mark.parametrize(
    ("times", "workers", "cause"),
    [
        # at work, of it CPU; waited, CPU of all threads meanwhile; of 10 s on 4 cores
        (WorkTimes(20, 1, 5, 1), 2, WaitingCause.READING),
        (WorkTimes(20, 1, 5, 19), 2, WaitingCause.DECODING),
        (WorkTimes(40, 38, 5, 19), 4, WaitingCause.DECODING),
        (WorkTimes(10, 9, 5, 5), 1, WaitingCause.FEW_WORKERS),
        (WorkTimes(5, 5, 5, 5), 0, WaitingCause.FEW_WORKERS),
        (WorkTimes(2, 1, 5, 0.1), 2, WaitingCause.DEVICE),
    ],
)
def test_the_cause_follows_from_what_was_busy(
    times: WorkTimes, workers: int, cause: WaitingCause
) -> None:
    assert waiting_cause(times, 10, workers, cores=4) is cause


def test_each_cause_has_its_way_out() -> None:
    def advice(cause: WaitingCause, **values: bool) -> str:
        return waiting_advice(cause, 2, 16, **{"streamed": False, "augmented": False, **values})

    assert "raise num_workers" in advice(WaitingCause.FEW_WORKERS)
    assert "nearer" in advice(WaitingCause.READING)
    assert "compression" in advice(WaitingCause.DECODING, streamed=True)
    assert "elastic" in advice(WaitingCause.DECODING, augmented=True)
    assert "elastic" not in advice(WaitingCause.DEVICE)


class SlowArray(NumpyArray):
    """Storage of which a batch takes longer to read than a step takes, on any machine."""

    run: Run
    reads = 0

    def read(self, begin: Voxels, end: Voxels) -> NDArray[Any]:
        began = time.monotonic()
        batch = self.reads // self.run.config.batch_size
        while self.run.iteration < batch and time.monotonic() < began + 60:
            time.sleep(0.005)
        self.reads += 1
        time.sleep(max(0.04, time.monotonic() - began))
        return super().read(begin, end)


def test_slow_storage_is_named_counted_and_kept_with_the_statistics(
    small_config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(small_config(num_iterations=6, num_workers=1))
    shape, size = (60, 60, 60), (8.0,) * 3
    raw = SlowArray("slow", np.zeros(shape, np.uint8), size)
    raw.run = run
    labels = ChannelLabels(
        NumpyArray("truth", np.ones((2, *shape), np.uint8), size), ["mito", "pm"]
    )
    run.datasplit.train[:] = [RawGTDataset("volume", raw, labels)]
    stats = train_until(run, 6)
    assert run.placement.places == [Place.STREAMED]
    assert stats.without_first().waiting_share > 0.3
    assert TrainingStats.from_record(stats.record()).waiting_share == pytest.approx(
        stats.waiting_share, abs=1e-3
    )
    (line,) = [line for line in caplog.messages if "waited for data" in line]
    assert "iterations 1 to 6 (reading): the storage answers too slowly" in line
    assert "(now 1)" in line


def test_data_that_is_there_in_time_is_not_spoken_of(
    small_config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(small_config())
    train_until(run, 1)
    time.sleep(0.1)
    train_until(run, 2)
    assert not [line for line in caplog.messages if "waited for data" in line]

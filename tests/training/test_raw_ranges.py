"""What a run makes of raw data: found once, and the same from then on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zarr

from dacapo_core.data.intensity_range import Intensities
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.copy_run import copy_run
from dacapo_core.store.errors import DamagedRecordError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until
from dacapo_core.training.checks import check_run
from dacapo_core.training.resume import resume
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import validate_iteration
from tests.camera_volumes import datasplit, twelve_bits, write_raw, write_volume


def camera_config(small_config: Any, folder: Path, **values: Any) -> RunConfig:
    volumes = [write_volume(folder, name, seed) for seed, name in enumerate(["a", "b"])]
    return small_config(
        num_workers=0,
        task_config={"type": "one_hot", "channels": ["mito"]},
        datasplit_config=datasplit(volumes[:1], volumes[1:]),
        **values,
    )


def ranges(run: Run) -> list[tuple[float, float]]:
    return [each.intensity_range for each in run.datasplit.train + run.datasplit.validate]


@pytest.mark.slow
def test_a_run_learns_alike_whatever_its_raw_data_is_counted_in(
    small_config: Any, tmp_path: Path
) -> None:
    def dice(make: Any, given: tuple[float, float] | None) -> float:
        volumes = [
            write_volume(tmp_path, name, seed, make, size=32, intensity_range=given)
            for seed, name in enumerate(["a", "b", "c"])
        ]
        config = small_config(
            num_iterations=30,
            num_workers=0,
            task_config={"type": "one_hot", "channels": ["mito"]},
            datasplit_config=datasplit(volumes[:2], volumes[2:]),
        )
        run = Run(config, "cpu")
        train_until(run, 30)
        best = validate_iteration(run, run.validation_datasets[0]).best_entry("mito__dice", True)
        assert best is not None
        return best[0]

    explicit = dice(twelve_bits, (1000, 3000))
    assert explicit > 0.3
    assert dice(twelve_bits, None) == pytest.approx(explicit, abs=0.05)

    def counts(raw: np.ndarray) -> np.ndarray:
        return (3e5 * raw - 7e5).astype(np.float32)

    assert dice(counts, None) == pytest.approx(explicit, abs=0.05)


def test_a_run_goes_on_with_the_range_it_began_with(
    small_config: Any, tmp_path: Path, store: LocalWeightsStore
) -> None:
    config = camera_config(small_config, tmp_path)
    run = Run(config, "cpu")
    check_run(run, store)
    (first, second) = ranges(run)
    assert first == second
    assert 1000 < first[0] < 1500
    assert 2500 < first[1] < 3000
    train_until(run, 2)
    store.store_weights(run, 2)
    before = validate_iteration(run, run.validation_datasets[0])

    raw = zarr.open_array(tmp_path / "a_raw")[...]
    write_raw(tmp_path, "a", (raw * 1.5).astype(np.uint16))
    assert ranges(Run(config, "cpu")) != [first, first]
    resumed = Run(config, "cpu")
    # also where only the checkpoint knows it
    assert store.intensities("small") is None
    resume(resumed, store)
    assert ranges(resumed) == [first, first]
    again = validate_iteration(resumed, resumed.validation_datasets[0])
    assert again.entries == before.entries

    kept = Intensities(dict.fromkeys(run.intensities.ranges, (5.0, 4000.0)))
    store.store_intensities("small", kept)
    target = LocalWeightsStore(tmp_path / "other")
    assert list(copy_run(store, target, "small")) == [2]
    moved = Run(config, "cpu")
    resume(moved, target)
    assert ranges(moved) == [(5, 4000)] * 2


def test_a_run_of_before_there_were_ranges_means_what_it_meant(
    small_config: Any, tmp_path: Path, store: LocalWeightsStore
) -> None:
    config = camera_config(small_config, tmp_path)
    run = Run(config, "cpu")
    extra = run.extra_state()
    del extra["intensities"]
    older = SimpleNamespace(
        name="small", model=run.model, optimizer=run.optimizer, extra_state=lambda: extra
    )
    without_any = SimpleNamespace(name="small", model=run.model, optimizer=run.optimizer)
    for iteration, stored in enumerate((older, without_any), start=1):
        extra["iteration"] = iteration
        store.store_weights(stored, iteration)
        resumed = Run(config, "cpu")
        resume(resumed, store)
        assert ranges(resumed) == [(0, 65535)] * 2


def test_a_record_that_cannot_be_read_is_no_reason_to_guess(
    small_config: Any, tmp_path: Path, store: LocalWeightsStore
) -> None:
    run = Run(camera_config(small_config, tmp_path), "cpu")
    store.store_weights(run, 1)
    (Path(store.basedir) / "small/records/intensities.json").write_text('{"ranges": 3}')
    with pytest.raises(DamagedRecordError, match=r"intensities\.json"):
        resume(Run(run.config, "cpu"), store)


def test_a_run_that_never_saw_its_data_finds_its_range_later(
    small_config: Any, tmp_path: Path, store: LocalWeightsStore
) -> None:
    config = camera_config(small_config, tmp_path)
    store.store_weights(Run(config, "cpu"), 1)
    resumed = Run(config, "cpu")
    resume(resumed, store)
    assert ranges(resumed) == ranges(Run(config, "cpu")) != [(0, 65535)] * 2


def test_constant_raw_data_is_refused_before_the_first_step(
    small_config: Any, tmp_path: Path, store: LocalWeightsStore
) -> None:
    config = camera_config(small_config, tmp_path)
    write_raw(tmp_path, "b", np.full((24, 24, 24), 7, np.uint16))
    with pytest.raises(ArrayError, match=r"volume 'b': raw data \S*b_raw is constant"):
        check_run(Run(config, "cpu"), store)
    assert store.iterations("small") == []


def test_used_8_bits_and_generated_data_stay_exactly_as_they_are(
    small_config: Any, tmp_path: Path
) -> None:
    assert set(ranges(Run(small_config(), "cpu"))) == {(-1, 1)}
    volume = write_volume(tmp_path, "a", 0, lambda raw: (127.5 + 127.5 * raw).astype(np.uint8))
    config = small_config(
        task_config={"type": "one_hot", "channels": ["mito"]},
        datasplit_config=datasplit([volume], [volume]),
    )
    assert ranges(Run(config, "cpu")) == [(0, 255)] * 2

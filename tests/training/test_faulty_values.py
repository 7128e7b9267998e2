"""Values that cannot be used stop a run before anything is learnt from them, with their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError, NumpyArray
from dacapo_core.experiments.datasplits.datasets.labels import ChannelLabels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.train import train_until
from dacapo_core.training.checks import check_run
from dacapo_core.training.run import Run

SHAPE, SIZE = (40, 24, 24), (8.0,) * 3


def run_on(config: Any, raw: Any, truth: Any) -> Run:
    run = Run(config)
    labels = ChannelLabels(NumpyArray("truth", truth, SIZE), ["mito", "pm"])
    dataset = RawGTDataset("volume", NumpyArray("raw.zarr", raw, SIZE), labels)
    run.datasplit.train[:] = [dataset]
    return run


def raw_with(value: float) -> Any:
    raw = np.random.default_rng(0).random(SHAPE, np.float32)
    raw[37, 5, 6] = value
    return raw


def truth_with(value: float) -> Any:
    truth = np.zeros((2, *SHAPE), np.float32)
    truth[:, ::2] = 1
    truth[1, 36, 7, 8] = value
    return truth


@pytest.mark.parametrize(
    ("raw", "truth", "says"),
    [
        (np.nan, 1, r"raw\.zarr holds a value that is not finite at voxel \(37, 5, 6\)"),
        (-np.inf, 1, r"raw\.zarr holds a value that is not finite at voxel \(37, 5, 6\)"),
        (0, 0.5, r"truth holds 0\.5 at voxel \(36, 7, 8\); labels are whole numbers"),
        (0, np.nan, r"truth holds nan at voxel \(36, 7, 8\)"),
    ],
)
def test_a_volume_in_memory_is_looked_through_before_the_first_step(
    small_config: Any, raw: float, truth: float, says: str
) -> None:
    run = run_on(small_config(num_iterations=100), raw_with(raw), truth_with(truth))
    with pytest.raises(ArrayError, match=says):
        check_run(run)


def test_streamed_values_stop_the_run_at_the_batch_that_meets_them(
    small_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dacapo_core.data.volume_placement.HOST_SHARE", 0)
    config = small_config(
        num_iterations=100,
        trainer={"augmentation": {"elastic_displacement": 30, "elastic_spacing": 80}},
    )
    # beyond what is labelled, and so looked at before; deformation reaches there
    truth, raw = truth_with(1)[:, :24], raw_with(0)
    raw[26:] = np.nan
    run = run_on(config, raw, truth)
    reported: list[int] = []
    with pytest.raises(ArrayError, match=r"raw\.zarr holds a value .* at voxel \(2\d, "):
        train_until(run, 100, on_iteration=lambda stats: reported.append(stats.iteration))
    assert run.training_stats.skipped == 1
    assert run.training_stats.iterations == [*reported, run.iteration]
    raw[26:] = 0
    clean = run_on(config, raw, truth)
    train_until(clean, run.iteration - 1)
    assert clean.iteration == run.iteration - 1
    for name, tensor in clean.model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], tensor), name


@pytest.mark.parametrize("steps", [{1}, {3, 4}, {6}])
def test_steps_that_are_not_finite_are_left_out_wherever_they_come(
    small_config: Any, steps: set[int]
) -> None:
    run = Run(small_config(num_iterations=6, trainer={"ema_decay": 0.5, "max_skipped": 3}))
    loss, calls = run.task.loss, 0
    before: dict[int, torch.Tensor] = {}

    def sometimes(*tensors: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        before[calls] = run.model.prediction_head.weight.detach().clone()
        return loss(*tensors) * (torch.inf if calls in steps else 1)

    object.__setattr__(run.task, "loss", sometimes)
    stats = train_until(run, 6)
    before[7] = run.model.prediction_head.weight.detach()
    assert {each.iteration for each in stats.iteration_stats if each.skipped} == steps
    assert {i for i in range(1, 7) if torch.equal(before[i], before[i + 1])} == steps
    assert run.average is not None
    assert int(run.average.n_averaged) == 6 - len(steps)
    assert run.skipped_in_a_row == (1 if 6 in steps else 0)

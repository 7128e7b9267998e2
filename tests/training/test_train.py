"""The training loop: what it reports, where it stops, what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from dacapo_core.experiments.datasplits.datasets.arrays.array import NumpyArray
from dacapo_core.experiments.datasplits.datasets.labels import ChannelLabels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts.model_head import split_parameters
from dacapo_core.store.errors import StoreNotWritableError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until
from dacapo_core.training.checks import check_run
from dacapo_core.training.device import find_device
from dacapo_core.training.errors import TrainingDivergedError
from dacapo_core.training.run import Run
from dacapo_core.training.training_stats import TrainingIterationStats
from dacapo_core.validation.scoring import validate_iteration
from tests.camera_volumes import datasplit, write_volume

EXAMPLES = Path(__file__).parents[2] / "examples"


def weights(parameters: Any) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for _, parameter in parameters])


def test_each_iteration_is_reported_once_and_the_loss_falls(small_config: Any) -> None:
    run = Run(small_config(num_iterations=40, trainer={"warmup_iterations": 4}))
    reported: list[TrainingIterationStats] = []
    first = train_until(run, 3, on_iteration=reported.append)
    second = train_until(run, 40, on_iteration=reported.append)
    assert first.iterations == [1, 2, 3]
    assert first.iteration_stats + second.iteration_stats == reported
    assert run.training_stats.iterations == list(range(1, 41))
    losses = run.training_stats.losses
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert max(run.training_stats.learning_rates) == pytest.approx(run.config.learning_rate)
    assert run.training_stats.samples_per_second > 0


def test_a_repetition_differs_and_can_be_repeated(small_config: Any) -> None:
    losses = [
        train_until(Run(small_config(repetition=repetition)), 2).losses for repetition in (0, 1, 1)
    ]
    assert losses[0] != losses[1]
    assert losses[1] == losses[2]


def test_training_until_where_it_is_does_nothing(small_config: Any) -> None:
    run = Run(small_config())
    train_until(run, 2)
    before = weights(run.model.named_parameters())
    assert train_until(run, 2).iterations == []
    assert torch.equal(weights(run.model.named_parameters()), before)


def test_an_exception_of_the_callback_stops_after_a_whole_iteration(small_config: Any) -> None:
    def stop(stats: TrainingIterationStats) -> None:
        if stats.iteration == 2:
            raise KeyboardInterrupt

    stopped, straight = Run(small_config()), Run(small_config())
    with pytest.raises(KeyboardInterrupt):
        train_until(stopped, 12, on_iteration=stop)
    assert stopped.iteration == 2
    train_until(stopped, 4)
    train_until(straight, 4)
    assert torch.equal(
        weights(stopped.model.named_parameters()), weights(straight.model.named_parameters())
    )


def test_torchs_own_generator_is_left_as_it_was(small_config: Any) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    train_until(Run(small_config()), 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_stays_not_finite_stops_the_run_and_says_what_to_do(small_config: Any) -> None:
    run = Run(small_config(num_iterations=30, trainer={"max_skipped": 5}))
    train_until(run, 2)
    before = weights(run.model.named_parameters())
    with torch.no_grad():
        bias = run.model.prediction_head.bias
        whole = bias.clone()
        bias.fill_(torch.nan)
    with pytest.raises(TrainingDivergedError, match=r"5 iterations in a row.*Lower learning_rate"):
        train_until(run, 30)
    assert run.iteration == 7
    assert run.training_stats.skipped == 5
    with torch.no_grad():
        bias.copy_(whole)
    assert torch.equal(weights(run.model.named_parameters()), before)
    assert train_until(run, 8).skipped == 0
    assert run.skipped_in_a_row == 0


def test_the_average_follows_the_weights_and_is_what_is_judged(small_config: Any) -> None:
    run = Run(small_config(trainer={"ema_decay": 0.5, "warmup_iterations": 0}))
    assert run.eval_model is run.model
    train_until(run, 1)
    average = weights(run.eval_model.named_parameters())
    assert torch.equal(average, weights(run.model.named_parameters()))
    train_until(run, 2)
    expected = 0.5 * average + 0.5 * weights(run.model.named_parameters())
    torch.testing.assert_close(weights(run.eval_model.named_parameters()), expected)


def test_a_start_can_freeze_the_backbone_first_and_slow_it_after(small_config: Any) -> None:
    start = {
        "type": "run",
        "run": "other",
        "criterion": "latest",
        "freeze_iterations": 2,
        "backbone_learning_rate_factor": 1e-6,
    }
    run = Run(small_config(start_config=start, trainer={"weight_decay": 0}))
    backbone, head = split_parameters(run.model)
    before = weights(backbone), weights(head)
    train_until(run, 2)
    assert torch.equal(weights(backbone), before[0])
    assert not torch.equal(weights(head), before[1])
    train_until(run, 6)
    moved = (weights(backbone) - before[0]).abs().max()
    assert 0 < moved < 1e-6 * (weights(head) - before[1]).abs().max() * 100


def test_batch_norm_of_a_frozen_backbone_waits_too(small_config: Any) -> None:
    network = {
        "input_shape": (12, 12, 12),
        "padding": "same",
        "batch_norm": True,
        "num_fmaps": 2,
        "fmaps_out": 2,
        "downsample_factors": [(2, 2, 2)],
    }
    start = {"type": "run", "run": "other", "criterion": "latest", "freeze_iterations": 4}
    run = Run(small_config(architecture_config=network, start_config=start))

    def statistics() -> torch.Tensor:
        return torch.cat([buffer.detach().flatten().float() for buffer in run.model.buffers()])

    before = statistics()
    train_until(run, 2)
    validate_iteration(run, run.validation_datasets[0])
    train_until(run, 4)
    assert torch.equal(statistics(), before)
    train_until(run, 5)
    assert not torch.equal(statistics(), before)


def test_channels_last_computes_the_same(small_config: Any) -> None:
    runs = [Run(small_config(trainer={"channels_last": last})) for last in (False, True)]
    kernel = runs[1].model.prediction_head.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last_3d)
    losses = [train_until(run, 1).losses[0] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_two_dimensional_network_trains_on_sections(small_config: Any) -> None:
    run = Run(
        small_config(
            architecture_config={
                "input_shape": (20, 20),
                "padding": "valid",
                "num_fmaps": 4,
                "fmaps_out": 4,
                "downsample_factors": [(2, 2)],
            },
            task_config={"type": "distance", "channels": ["mito", "pm"]},
        )
    )
    check_run(run)
    assert train_until(run, 3).skipped == 0


def test_held_out_volumes_that_cannot_be_used_are_refused_before_the_first_step(
    small_config: Any, tmp_path: Path
) -> None:
    volumes = [write_volume(tmp_path, name, seed) for seed, name in enumerate(["a", "b"])]
    config = small_config(
        task_config={"type": "one_hot", "channels": ["mito"]},
        datasplit_config=datasplit(volumes[:1], volumes[1:]),
    )
    truth = np.zeros((24, 24, 24), np.float32)
    truth[3, 4, 5] = 0.5
    zarr.create_array(tmp_path / "b_mito", data=truth, overwrite=True).attrs["voxel_size"] = [8] * 3
    with pytest.raises(ValueError, match=r"\S*b_mito holds 0.5 at voxel \(3, 4, 5\)"):
        check_run(Run(config, "cpu"))


@pytest.mark.slow
def test_a_generated_volume_is_learnt_from_a_configuration_file() -> None:
    run = Run(RunConfig.from_file(EXAMPLES / "generated.yaml"))
    check_run(run)
    train_until(run, run.config.num_iterations)
    (held_out,) = run.validation_datasets
    best = validate_iteration(run, held_out).best_entry("mito__dice", True)
    assert best is not None
    assert best[0] >= 0.9


def test_a_device_that_is_not_there_is_named_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, small_config: Any
) -> None:
    with pytest.raises(ValueError, match=r"device 'cuda:77'.*there are: cpu"):
        Run(small_config(), "cuda:77")
    monkeypatch.setenv("DACAPO_DEVICE", "nonsense")
    with pytest.raises(ValueError, match=r"device 'nonsense' .*DACAPO_DEVICE"):
        find_device()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"task_config": {"type": "one_hot", "channels": ["mito", "nucleus"]}},
            r"channel 'nucleus'.*they label er, mito",
        ),
        (
            {
                "datasplit_config": {
                    "type": "synthetic",
                    "shape": (24, 24, 8),
                    "voxel_size": (8, 8, 16),
                }
            },
            r"volume 'generated_0'.*\(24, 24, 8\).*input_shape \(12, 12, 12\)",
        ),
        (
            {
                "datasplit_config": {
                    "type": "synthetic",
                    "shape": (24, 24, 24),
                    "label_scale": (2, 2, 2),
                }
            },
            r"volume 'generated_0'.*factor of \(2, 2, 2\).*upsample_factors",
        ),
    ],
)
def test_what_does_not_fit_is_found_before_the_first_step(
    small_config: Any, values: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        check_run(Run(small_config(**values)))


def test_a_data_url_that_is_not_there_is_named(small_config: Any, tmp_path: Path) -> None:
    array = {"file_name": str(tmp_path / "nowhere.zarr"), "dataset": "raw"}
    volume = {
        "name": "mine",
        "raw_config": array,
        "gt_config": {"type": "zarr", **array, "channels": ["mito"]},
    }
    config = small_config(
        datasplit_config={
            "type": "train_validate",
            "train_configs": [volume],
            "validate_configs": [],
        }
    )
    with pytest.raises(FileNotFoundError, match=r"nowhere\.zarr"):
        check_run(Run(config))


def test_a_store_that_cannot_be_written_is_found_before_the_first_step(
    small_config: Any, tmp_path: Path
) -> None:
    run = Run(small_config())
    good = LocalWeightsStore(tmp_path / "runs")
    check_run(run, good)
    assert good.runs() == []
    assert [each for each in (tmp_path / "runs").rglob("*") if each.is_file()] == []
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreNotWritableError, match=r"cannot write .*/file/small/"):
        check_run(run, LocalWeightsStore(tmp_path / "file"))


def test_a_volume_to_validate_on_that_is_smaller_than_the_input_is_refused(
    small_config: Any,
) -> None:
    run = Run(small_config())
    (held_out,) = run.datasplit.validate
    small = NumpyArray("crop", np.zeros((24, 24, 8), np.float32), (8.0,) * 3)
    labels = ChannelLabels(NumpyArray("truth", np.zeros((24, 24, 8), bool), (8.0,) * 3), ["mito"])
    run.datasplit.validate[:] = [held_out, RawGTDataset("crop", small, labels)]
    with pytest.raises(ValueError, match=r"volume 'crop'.*\(24, 24, 8\).*smaller input_shape"):
        check_run(run)


def test_raw_data_for_a_network_of_more_channels_is_refused(small_config: Any) -> None:
    values = small_config().model_dump()
    values["architecture_config"]["fmaps_in"] = 2
    with pytest.raises(ValueError, match="fmaps_in is 2, and raw data has 1 channel"):
        check_run(Run(RunConfig.model_validate(values)))

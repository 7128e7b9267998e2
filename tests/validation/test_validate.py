"""Validation of whole volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dacapo_core.data.patch_grid import PatchGrid
from dacapo_core.experiments.architectures import CNNectomeUNetConfig
from dacapo_core.experiments.datasplits import SyntheticDataSplitConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError, NumpyArray
from dacapo_core.experiments.datasplits.datasets.labels import ChannelLabels, GroupedLabels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.tasks import OneHotTaskConfig
from dacapo_core.experiments.trainers import TrainerConfig
from dacapo_core.training.run import Run
from dacapo_core.validation.prediction import predict_volume
from dacapo_core.validation.scoring import mean_scores, predict, score_rows, validate_iteration
from dacapo_core.validation.tiling import evaluation_grid


def run_with(architecture: dict[str, Any], **values: Any) -> Run:
    settings = {"fmaps_out": 4, "num_fmaps": 4, "downsample_factors": [(2, 2, 2)], **architecture}
    return Run(
        RunConfig(
            architecture_config=CNNectomeUNetConfig(**settings),
            task_config=OneHotTaskConfig(channels=["mito", "pm"], thresholds=[0.4, 0.6]),
            trainer_config=TrainerConfig(mixed_precision="off"),
            datasplit_config=SyntheticDataSplitConfig(
                shape=(40, 44, 36), label_scale=values.pop("label_scale", (1, 1, 1))
            ),
            **values,
        ),
        "cpu",
    )


CPU = torch.device("cpu")


def forward(run: Run, raw: np.ndarray | torch.Tensor) -> torch.Tensor:
    """The network on one input, without tiles."""
    run.model.eval()
    with torch.inference_mode():
        return run.model(torch.as_tensor(raw)[None, None])[0]


def test_tiles_of_a_valid_network_are_the_whole() -> None:
    run = run_with({"input_shape": (24, 24, 24)})
    dataset = run.validation_datasets[0]
    tiled = predict(run, dataset)
    assert tiled.shape == (2, 40, 44, 36)
    # one input around everything; the context beyond the volume is its mirror image either way
    context = (24 - run.model.output_shape[0]) // 2
    whole = forward(
        run, dataset.read_raw((-context,) * 3, tuple(n + context for n in (40, 44, 36)))
    )
    assert whole.shape == tiled.shape
    assert (whole - tiled).abs().max() < 1e-5


def test_tiles_of_a_network_with_finer_output_are_the_whole() -> None:
    run = run_with(
        {"input_shape": (24, 24, 24), "upsample_factors": [(2, 2, 2)]}, label_scale=(2, 2, 2)
    )
    dataset = run.validation_datasets[0]
    tiled = predict(run, dataset)
    assert tiled.shape == (2, 80, 88, 72)
    margin = 24 * 2 - run.model.output_shape[0]
    # label voxels around the output, in whole raw voxels
    context = margin // 4
    whole = forward(
        run, dataset.read_raw((-context,) * 3, tuple(n + context for n in (40, 44, 36)))
    )
    assert whole.shape == tiled.shape
    assert (whole - tiled).abs().max() < 1e-5


def test_tiles_of_a_same_network_are_the_whole_where_they_have_context() -> None:
    run = run_with({"input_shape": (24, 24, 24), "padding": "same"})
    dataset = run.validation_datasets[0]
    config = run.config.architecture_config
    one, none = evaluation_grid(config, (40, 44, 36))
    assert (one.input_shape, none) == ((40, 44, 36), (0, 0, 0))
    grid, margin = evaluation_grid(config, (40, 44, 36), most_voxels=32**3)
    assert grid.input_shape == (32, 32, 32)
    assert min(margin) > 0
    whole = predict(run, dataset)
    assert whole.shape == (2, 40, 44, 36)
    tiled = predict_volume(dataset, grid, margin, lambda raw: forward(run, raw), CPU)
    # towards the border the whole has zeros around it, the tiles the mirror image
    inner = (slice(None), *(slice(10, -10),) * 3)
    assert (whole[inner] - tiled[inner]).abs().max() < 1e-5
    careless = predict_volume(dataset, grid, (0, 0, 0), lambda raw: forward(run, raw), CPU)
    assert (whole[inner] - careless[inner]).abs().max() > 1e-4


def test_a_box_inside_a_larger_volume_is_judged_with_real_context() -> None:
    run = run_with({"input_shape": (24, 24, 24)})
    whole = run.validation_datasets[0]
    raw = NumpyArray("raw", whole.read_raw((0, 0, 0), (40, 44, 36)), (8.0,) * 3)
    truth, _ = whole.read_labels((0, 0, 0), (40, 44, 36), ["mito", "pm"])
    labels = ChannelLabels(NumpyArray("truth", truth, (8.0,) * 3), ["mito", "pm"])
    part = RawGTDataset("part", raw, labels, roi=((12, 14, 16), (18, 31, 29)))
    # from an even voxel on, as the pooling by 2 has it
    expected = predict(run, whole)[:, 12:18, 14:31, 16:29]
    assert (predict(run, part) - expected).abs().max() < 1e-5


def test_a_two_dimensional_network_is_judged_section_by_section() -> None:
    run = run_with({"input_shape": (24, 24), "downsample_factors": [(2, 2)]})
    dataset = run.validation_datasets[0]
    tiled = predict(run, dataset)
    assert tiled.shape == (2, 40, 44, 36)
    run.model.eval()
    context = (24 - run.model.output_shape[0]) // 2
    raw = dataset.read_raw((7, -context, -context), (8, 44 + context, 36 + context))
    with torch.inference_mode():
        whole = run.model(torch.from_numpy(raw[None]))[0]
    assert (whole - tiled[:, 7]).abs().max() < 1e-5


def test_each_set_of_parameters_is_scored_by_channel_and_on_the_whole() -> None:
    run = run_with({"input_shape": (24, 24, 24), "padding": "same"})
    dataset = run.validation_datasets[0]
    truth, _ = dataset.read_labels(dataset.begin, dataset.end, ["mito", "pm"])
    prediction = truth * np.array([0.5, 0.9]).reshape(2, 1, 1, 1)
    record = validate_iteration(run, dataset, torch.from_numpy(prediction))
    assert (record.iteration, record.dataset) == (0, "held_out_0")
    low, high = record.entries
    assert (low.parameters, high.parameters) == ({"threshold": 0.4}, {"threshold": 0.6})
    assert low.scores["mito__f1_score"] == low.scores["pm__f1_score"] == low.scores["dice"] == 1
    assert high.scores["mito__f1_score"] == 0
    assert high.scores["f1_score"] == 0.5
    # no value for one channel is no value for the mean, and never the best
    assert high.scores["voi"] is None
    assert record.best_entry("voi", False) == (0, {"threshold": 0.4})
    assert record.best_entry("f1_score", True) == (1, {"threshold": 0.4})
    assert record.criteria["f1_score"] is True
    assert record.criteria["pm__voi"] is False


def test_scores_load_as_a_table() -> None:
    run = run_with({"input_shape": (24, 24, 24), "padding": "same"})
    dataset = run.validation_datasets[0]
    rows = score_rows([validate_iteration(run, dataset)])
    assert {row["threshold"] for row in rows} == {0.4, 0.6}
    one = next(r for r in rows if (r["threshold"], r["criterion"]) == (0.4, "mito__recall"))
    assert set(one) == {"iteration", "dataset", "threshold", "criterion", "extended", "score"}
    assert isinstance(one["score"], float)


def test_only_what_a_volume_labels_is_judged() -> None:
    run = run_with({"input_shape": (24, 24, 24), "padding": "same"})
    raw = NumpyArray("em", np.zeros((24, 24, 24), np.float32), (8.0,) * 3)
    ids = np.zeros((24, 24, 24), np.uint16)
    ids[2:6, 2:6, 2:6], ids[10:14, 2:6, 2:6] = 1, 2
    cells = GroupedLabels(NumpyArray("ids", ids, (8.0,) * 3), {"mito": []}, [0], [])
    record = validate_iteration(run, RawGTDataset("crop", raw, cells))
    assert not any(name.startswith("pm__") for name in record.entries[0].scores)
    assert "mito__instance_voi" in record.entries[0].scores
    nuclei = ChannelLabels(NumpyArray("nuclei", ids, (8.0,) * 3), ["nuc"])
    with pytest.raises(ArrayError, match="'other' labels nuc, none of the task's channels"):
        validate_iteration(run, RawGTDataset("other", raw, nuclei))
    coarse = NumpyArray("em", np.zeros((12, 12, 12), np.float32), (16.0,) * 3)
    with pytest.raises(ArrayError, match=r"'coarse': .* output is finer"):
        validate_iteration(run, RawGTDataset("coarse", coarse, cells))


def test_validation_leaves_the_run_as_it_was() -> None:
    run = run_with({"input_shape": (24, 24, 24), "batch_norm": True})
    run.model.train()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    random = torch.get_rng_state()
    validate_iteration(run, run.validation_datasets[0])
    assert run.model.training
    assert all(torch.equal(value, run.model.state_dict()[name]) for name, value in before.items())
    assert torch.equal(random, torch.get_rng_state())


def test_the_mean_over_channels() -> None:
    mean = mean_scores([{"dice": 0.5, "voi": float("nan")}, {"dice": 1.0, "voi": 0.1}])
    assert mean["dice"] == 0.75
    assert np.isnan(mean["voi"])


def test_tiles_cover_boxes_of_any_size() -> None:
    """Each voxel of a box is predicted once at least, from its own place."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        shape = tuple(int(n) for n in rng.integers(5, 20, 3))
        scale = tuple(int(n) for n in rng.integers(1, 3, 3))
        size = tuple(int(n) for n in rng.integers(1, 5, 3) * 2 * np.array(scale))
        context = rng.integers(0, 3, 3)
        inputs = [n // s + 2 * int(c) for n, s, c in zip(size, scale, context, strict=True)]
        grid = PatchGrid.of(inputs, size, scale)
        data = rng.random(shape).astype(np.float32)
        fine = data.repeat(scale[0], 0).repeat(scale[1], 1).repeat(scale[2], 2)
        voxel = tuple(8.0 / s for s in scale)
        truth = ChannelLabels(NumpyArray("t", fine > 0.5, voxel), ["a"])  # type: ignore[arg-type]
        dataset = RawGTDataset("v", NumpyArray("r", data, (8.0,) * 3), truth)

        def centre(
            raw: torch.Tensor, scale: Any = scale, size: Any = size, grid: Any = grid
        ) -> torch.Tensor:
            fine = raw.numpy().repeat(scale[0], 0).repeat(scale[1], 1).repeat(scale[2], 2)
            where = tuple(slice(c, c + n) for c, n in zip(grid.context, size, strict=True))
            return torch.from_numpy(fine[where][None])

        found = predict_volume(dataset, grid, (0, 0, 0), centre, CPU)
        assert np.array_equal(found[0], fine)

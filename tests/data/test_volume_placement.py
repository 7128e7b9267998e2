"""Where volumes are kept changes no batch; where they do not fit, the next place takes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from dacapo_core.data.batch_source import Batch
from dacapo_core.data.boxes import Voxels
from dacapo_core.data.preloaded_array import PreloadedArray
from dacapo_core.data.volume_placement import Place, Placement, choose_places
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.training.run import Run

CPU = torch.device("cpu")


def test_the_smallest_volumes_go_to_the_fastest_place_and_unread_ones_nowhere() -> None:
    D, H, S = Place.DEVICE, Place.HOST, Place.STREAMED
    assert choose_places([50, 10, 30, 100], [9, 9, 9, 9], 45, 60) == [H, D, D, S]
    assert choose_places([10, 10], [0.5, 1], 100, 100) == [S, D]
    assert choose_places([10], [5], 0, 0) == [S]
    assert choose_places([10], [5], 0, 10) == [H]


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A run on stored volumes: a mask, labels that lie apart, a raw edge within reach."""
    rng = np.random.default_rng(3)
    root = zarr.open_group(tmp_path / "data.zarr", mode="w")
    volumes = []
    for name, dtype in (("a", np.uint8), ("b", np.uint16)):
        group = root.create_group(name)
        raw = rng.integers(0, np.iinfo(dtype).max, (26, 30, 28)).astype(dtype)
        ids = rng.integers(0, 3, (20, 24, 24)).astype(np.uint64)
        arrays = {"raw": (raw, (0, 0, 0)), "ids": (ids, (24, 16, 16))}
        arrays["mask"] = ((rng.random(ids.shape) < 0.9).astype(np.uint8), (24, 16, 16))
        for each, (values, offset) in arrays.items():
            array = group.create_array(each, data=values, chunks=(8, 8, 8))
            array.attrs["resolution"] = [8, 8, 8]
            array.attrs["offset"] = list(offset)
        file = str(tmp_path / "data.zarr")

        def at(dataset: str, file: str = file, name: str = name) -> dict[str, str]:
            return {"file_name": file, "dataset": f"{name}/{dataset}"}

        volumes.append(
            {
                "name": name,
                "raw_config": at("raw"),
                "gt_config": {
                    "type": "binarize",
                    "source_array_config": at("ids"),
                    "groupings": {"one": [1], "two": [2]},
                },
                "mask_config": at("mask"),
            }
        )
    return RunConfig.model_validate(
        {
            "batch_size": 4,
            "num_iterations": 500,
            "architecture_config": {
                "input_shape": (12, 12, 12),
                "padding": "same",
                "num_fmaps": 2,
                "fmaps_out": 2,
                "downsample_factors": [(2, 2, 2)],
            },
            "task_config": {"type": "one_hot", "channels": ["one", "two"]},
            "trainer_config": {"augmentation": {"elastic_displacement": 20, "elastic_spacing": 60}},
            "datasplit_config": {
                "type": "train_validate",
                "train_configs": volumes,
                "validate_configs": [],
            },
        }
    )


def drawn(config: RunConfig) -> tuple[Run, list[list[torch.Tensor]]]:
    run = Run(config, "cpu")
    return run, [joined(run.batch_source.batch(iteration)) for iteration in range(6)]


def joined(parts: Sequence[Batch]) -> list[torch.Tensor]:
    columns = zip(*([part.raw, part.target, part.weight] for part in parts), strict=True)
    return [torch.cat(column) for column in columns]


def test_kept_and_streamed_volumes_and_accumulated_parts_make_the_same_batches(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="dacapo_core"):
        kept, expected = drawn(config)
    assert kept.placement.places == [Place.HOST, Place.HOST]
    said = [line for line in caplog.messages if line.startswith("volume ")]
    assert len(said) == 2
    assert "'a'" in said[0]
    assert "in host memory" in said[0]
    monkeypatch.setattr("dacapo_core.data.volume_placement.HOST_SHARE", 0)
    streamed, others = drawn(config)
    assert streamed.placement.places == [Place.STREAMED, Place.STREAMED]
    trainer = config.trainer_config.model_copy(update={"gradient_accumulation": 2})
    _, parts = drawn(config.model_copy(update={"trainer_config": trainer}))
    for wanted, found, split in zip(expected, others, parts, strict=True):
        for one, two, three in zip(wanted, found, split, strict=True):
            assert torch.equal(one, two)
            assert torch.equal(one, three)
        assert wanted[1].any()
        assert not wanted[2].all()


def test_a_place_with_too_little_memory_after_all_leaves_the_volume_to_the_next(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, expected = drawn(config)
    keep = PreloadedArray.keep

    def full(self: PreloadedArray, begin: Voxels, end: Voxels, device: torch.device) -> None:
        if self.name.endswith("b/ids"):
            raise torch.OutOfMemoryError("CUDA out of memory")
        keep(self, begin, end, device)

    monkeypatch.setattr(PreloadedArray, "keep", full)
    run, found = drawn(config)
    assert run.placement.places == [Place.HOST, Place.STREAMED]
    assert any("'b'" in line and "too little memory" in line for line in caplog.messages)
    for wanted, made in zip(expected, found, strict=True):
        assert all(torch.equal(one, two) for one, two in zip(wanted, made, strict=True))


def test_little_training_on_a_large_volume_reads_what_it_needs_only(config: RunConfig) -> None:
    few = Run(config.model_copy(update={"num_iterations": 1}), "cpu")
    few.batch_source.batch(0)
    assert few.placement.places == [Place.STREAMED, Place.STREAMED]
    assert not Placement(few.sampler, CPU, 1).leave_device()

"""Volumes: how raw data, labels, masks and regions of interest lie in each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from pydantic import ValidationError

from dacapo_core.experiments.datasplits import RawGTDatasetConfig, TrainValidateDataSplitConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError, NumpyArray
from dacapo_core.experiments.datasplits.datasets.labels import (
    ChannelLabels,
    ConcatLabels,
    GroupedLabels,
)
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

RAW = NumpyArray("raw", np.zeros((4, 4, 4), np.uint8), (8.0, 8.0, 8.0))


def labels(data: np.ndarray, voxel: float = 8.0, offset: float = 0.0) -> ChannelLabels:
    array = NumpyArray("truth", data, (voxel,) * 3, (offset,) * 3)
    return ChannelLabels(array, ["mito"])


def test_finer_labels_of_a_crop_lie_where_the_world_says() -> None:
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[0, 0, 0] = 1
    # 4 nm labels that begin 8 nm, one raw voxel, into the raw data
    dataset = RawGTDataset("v", RAW, labels(truth, 4.0, 8.0))
    assert dataset.scale == (2, 2, 2)
    assert (dataset.begin, dataset.end) == ((2, 2, 2), (6, 6, 6))
    foreground, known = dataset.read_labels((0, 0, 0), (8, 8, 8), ["mito"])
    assert np.argwhere(foreground[0]).tolist() == [[2, 2, 2]]
    assert known.sum() == 64
    assert known[0, 2:6, 2:6, 2:6].all()


def test_region_and_mask_and_missing_channels_are_unknown() -> None:
    mask = np.ones((4, 4, 4), np.uint8)
    mask[2, 0] = 0
    dataset = RawGTDataset(
        "v",
        RAW,
        labels(np.ones((4, 4, 4), np.uint8)),
        mask=NumpyArray("mask", mask, (8.0,) * 3),
        roi=((2, 0, 0), (None, None, None)),
    )
    foreground, known = dataset.read_labels((0, 0, 0), (4, 4, 4), ["er", "mito"])
    assert not known[0].any()
    assert not known[1, :2].any()
    assert not known[1, 2, 0].any()
    assert known[1].sum() == 2 * 16 - 4
    assert np.array_equal(foreground[1], known[1])


def test_raw_is_scaled_and_mirrored_beyond_its_border() -> None:
    data = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3)
    raw = NumpyArray("raw", data, (8.0,) * 3)
    truth = labels(np.ones((1, 1, 3), np.uint8))
    assert RawGTDataset("v", raw, truth).read_raw((0, 0, -2), (1, 1, 4))[0, 0] == pytest.approx(
        [-0.6, -1, -1, -0.6, 1, 1]
    )
    narrow = RawGTDataset("v", raw, truth, intensity_range=(0, 102))
    assert narrow.read_raw((0, 0, 0), (1, 1, 3))[0, 0] == pytest.approx([-1, 0, 4])


def test_integer_labels_are_grouped_and_strange_ones_refused() -> None:
    values = np.array([0, 3, 4, 5, 255, 3], np.uint8).reshape(1, 1, 6)
    array = NumpyArray("ids", values, (8.0,) * 3)
    groups = {"mito": [3, 4], "mito_mem": [4]}
    found, known = GroupedLabels(array, groups, None, [255]).read((0, 0, 0), (1, 1, 6))
    assert found[0].ravel().tolist() == [False, True, True, False, False, True]
    assert found[1].ravel().tolist() == [False, False, True, False, False, False]
    assert known.ravel().tolist() == [True, True, True, True, False, True]
    with pytest.raises(ArrayError, match="ids holds label values that no channel has: 5"):
        GroupedLabels(array, groups, [0], [255]).read((0, 0, 0), (1, 1, 6))
    instances = GroupedLabels(array, {"cell": []}, [0], [255])
    assert instances.read_instances("cell", (0, 0, 0), (1, 1, 6)).ravel().tolist() == [
        0, 3, 4, 5, 0, 3,
    ]  # fmt: skip
    assert (
        GroupedLabels(array, groups, None, []).read_instances("mito", (0, 0, 0), (1, 1, 6)) is None
    )


def test_errors_name_both_arrays() -> None:
    truth = np.ones((4, 4, 4), np.uint8)
    first = NumpyArray("first", truth, (8.0,) * 3)
    small = NumpyArray("small", truth[:2], (8.0,) * 3)
    with pytest.raises(ArrayError, match=r"raw has \(8.0.*truth has \(3.0"):
        RawGTDataset("v", RAW, labels(truth, 3.0))
    with pytest.raises(ArrayError, match="raw and ground truth truth do not overlap"):
        RawGTDataset("v", RAW, labels(truth, 8.0, 800.0))
    with pytest.raises(ArrayError, match=r"'v': roi .* is not inside the ground truth truth"):
        RawGTDataset("v", RAW, labels(truth), roi=((0, 0, 0), (5, None, None)))
    with pytest.raises(ArrayError, match=r"mask small .* does not cover ground truth truth"):
        RawGTDataset("v", RAW, labels(truth), mask=small)
    with pytest.raises(ArrayError, match="small has shape"):
        ConcatLabels({"a": first, "b": small})
    with pytest.raises(ArrayError, match="moved has shape"):
        ConcatLabels({"a": first, "b": NumpyArray("moved", truth, (8.0,) * 3, (16.0, 0.0, 0.0))})
    with pytest.raises(ArrayError, match="truth has 2 channels, and 1 are named"):
        ChannelLabels(NumpyArray("truth", np.ones((2, 4, 4, 4)), (8.0,) * 3), ["mito"])
    with pytest.raises(ArrayError, match="floats holds float64, not integer labels"):
        GroupedLabels(NumpyArray("floats", np.ones((4, 4, 4)), (8.0,) * 3), {"a": [1]}, None, [])


def test_an_axis_of_one_channel_is_no_channel_axis() -> None:
    one = NumpyArray("one", np.ones((1, 4, 4, 4), np.uint8), (8.0,) * 3)
    grouped = GroupedLabels(one, {"a": [1]}, None, [])
    for truth in (ConcatLabels({"a": one}), grouped, ChannelLabels(one, ["a"])):
        dataset = RawGTDataset("v", one, truth, mask=one)
        assert dataset.read_raw((0, 0, 0), (4, 3, 2)).shape == (4, 3, 2)
        labels, known = dataset.read_labels((0, 0, 0), (4, 3, 2), ["a"])
        assert labels.shape == known.shape == (1, 4, 3, 2)
        assert labels.all()


def test_nan_in_raw_is_met_with_its_place() -> None:
    data = np.zeros((4, 4, 4), np.float32)
    data[1, 2, 3] = np.nan
    dataset = RawGTDataset(
        "v", NumpyArray("em", data, (8.0,) * 3), labels(np.ones((4, 4, 4), np.uint8))
    )
    with pytest.raises(ArrayError, match=r"raw data em .* at voxel \(1, 2, 3\)"):
        dataset.read_raw((1, 1, 1), (3, 3, 4))


def test_a_volume_opens_from_its_configuration(tmp_path: Path) -> None:
    for name, voxel in (("raw", 8), ("mito", 4)):
        size = 32 // voxel
        array = zarr.create_array(str(tmp_path / name), shape=(size,) * 3, dtype="uint8")
        array[...] = 1
        array.attrs["voxel_size"] = [voxel] * 3
    values = {
        "name": "cell/a",
        "raw_config": {"file_name": str(tmp_path), "dataset": "raw"},
        "gt_config": {
            "type": "binarize",
            "source_array_config": {"file_name": str(tmp_path), "dataset": "mito"},
            "groupings": {"mito": [1]},
        },
        "roi": {"begin": [2, 0, 0], "end": [4, None, None]},
    }
    dataset = RawGTDatasetConfig.model_validate(values).dataset()
    assert dataset.channels == ["mito"]
    assert (dataset.begin, dataset.end) == ((2, 0, 0), (4, 8, 8))
    plain = {**values, "gt_config": {"type": "zarr", **values["raw_config"]}}  # type: ignore[dict-item]
    with pytest.raises(ArrayError, match="has no channels: name them"):
        RawGTDatasetConfig.model_validate(plain).dataset()


def test_contradictions_are_found_without_data() -> None:
    raw = {"file_name": "em.zarr"}
    volume = {
        "name": "v",
        "raw_config": raw,
        "gt_config": {"type": "zarr", "channels": ["a"], **raw},
    }
    blind = {"name": "blind", "raw_config": raw}

    def refused(message: str, **values: object) -> None:
        values = {"train_configs": [volume], "validate_configs": [volume], **values}
        with pytest.raises(ValidationError, match=message):
            TrainValidateDataSplitConfig.model_validate(values)

    refused(
        "'blind' has no gt_config; without ground truth nobody can validate",
        validate_configs=[blind],
    )
    refused("name a volume twice: v", train_configs=[volume, volume])
    refused("train_configs", train_configs=[])
    refused(
        "not past begin", train_configs=[{**volume, "roi": {"begin": [5, 0, 0], "end": [5, 9, 9]}}]
    )
    refused("contains '..'", train_configs=[{**volume, "name": "../up"}])
    ids = {
        "type": "binarize",
        "source_array_config": raw,
        "groupings": {"a": [1]},
        "unlabelled": [1],
    }
    refused("label value 1 is in both", train_configs=[{**volume, "gt_config": ids}])

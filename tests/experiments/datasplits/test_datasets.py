"""Volumes: how raw data, labels, masks and regions of interest lie in each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
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
    # mostly outside: what is mirrored is the volume, not what of it lies inside
    assert RawGTDataset("v", raw, truth).read_raw((0, 0, -5), (1, 1, 1))[0, 0] == pytest.approx(
        [-0.6, 1, 1, -0.6, -1, -1]
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
    apart = NumpyArray("apart", truth, (8.0,) * 3, (0.0, 0.0, 80.0))
    with pytest.raises(ArrayError, match=r"raw has \(8.0.*truth has \(3.0"):
        RawGTDataset("v", RAW, labels(truth, 3.0))
    with pytest.raises(ArrayError, match="raw and ground truth truth do not overlap"):
        RawGTDataset("v", RAW, labels(truth, 8.0, 800.0))
    with pytest.raises(ArrayError, match=r"'v': roi .* is not inside the ground truth truth"):
        RawGTDataset("v", RAW, labels(truth), roi=((0, 0, 0), (5, None, None)))
    with pytest.raises(ArrayError, match=r"'v': mask apart does not overlap .* truth truth"):
        RawGTDataset("v", RAW, labels(truth), mask=apart)
    with pytest.raises(ArrayError, match=r"mask coarse has voxel size \(8.2"):
        RawGTDataset("v", RAW, labels(truth), mask=NumpyArray("coarse", truth, (8.2,) * 3))
    with pytest.raises(ArrayError, match="small has shape"):
        ConcatLabels({"a": first, "b": small})
    with pytest.raises(ArrayError, match="moved has shape"):
        ConcatLabels({"a": first, "b": NumpyArray("moved", truth, (8.0,) * 3, (16.0, 0.0, 0.0))})
    with pytest.raises(ArrayError, match="truth has 2 channels, and 1 are named"):
        ChannelLabels(NumpyArray("truth", np.ones((2, 4, 4, 4)), (8.0,) * 3), ["mito"])


def test_a_mask_may_cover_a_part() -> None:
    mask = np.ones((2, 2, 6), np.uint8)
    mask[0, 0, 2] = 0
    dataset = RawGTDataset(
        "v",
        RAW,
        labels(np.ones((4, 4, 4), np.uint8)),
        # it begins a voxel after the ground truth in z, and before it in x
        mask=NumpyArray("mask", mask, (8.04,) * 3, (8.0, 0.0, -8.0)),
    )
    assert (dataset.begin, dataset.end) == ((1, 0, 0), (3, 2, 4))
    _, known = dataset.read_labels((0, 0, 0), (4, 4, 4), ["mito"])
    expected = np.zeros((4, 4, 4), bool)
    expected[1:3, 0:2] = True
    expected[1, 0, 1] = False
    assert np.array_equal(known[0], expected)


def test_whole_numbers_as_floats_are_labels_and_fractions_are_not() -> None:
    values = np.array([0, 3, 4, 3, -1, 0], np.float32).reshape(1, 1, 6)
    grouped = GroupedLabels(NumpyArray("f", values, (8.0,) * 3), {"mito": [3, 4]}, [0], [-1])
    found, known = grouped.read((0, 0, 0), (1, 1, 6))
    assert found.ravel().tolist() == [False, True, True, True, False, False]
    assert known.ravel().tolist() == [True, True, True, True, False, True]
    cells = GroupedLabels(NumpyArray("f", values, (8.0,) * 3), {"cell": []}, [0], [-1])
    ids = cells.read_instances("cell", (0, 0, 0), (1, 1, 6))
    assert ids.dtype.kind == "i"
    assert ids.ravel().tolist() == [0, 3, 4, 3, 0, 0]
    for wrong in (2.5, np.nan, np.inf):
        values[0, 0, 4] = wrong
        array = NumpyArray("f", values, (8.0,) * 3)
        for truth in (
            GroupedLabels(array, {"mito": [3, 4]}, [0], []),
            GroupedLabels(array, {"cell": []}, [0], []),
            ChannelLabels(array, ["mito"]),
            ConcatLabels({"mito": array}),
        ):
            with pytest.raises(ArrayError, match=rf"f holds {wrong} at voxel \(0, 0, 4\)"):
                truth.read((0, 0, 1), (1, 1, 6))
            faults = truth.faults([torch.from_numpy(values)])
            assert faults is not None
            assert bool(faults)


def test_ids_above_the_signed_range_are_told_apart() -> None:
    high = np.array([0, 2**63, 2**63 + 1, 2**64 - 1, 5, 0], np.uint64).reshape(1, 1, 6)
    array = NumpyArray("ids", high, (8.0,) * 3)
    named = GroupedLabels(array, {"a": [2**63], "b": [2**63 + 1, 5]}, [0], [2**64 - 1])
    found, known = named.read((0, 0, 0), (1, 1, 6))
    assert np.argwhere(found[0, 0, 0]).ravel().tolist() == [1]
    assert np.argwhere(found[1, 0, 0]).ravel().tolist() == [2, 4]
    assert np.argwhere(~known[0, 0]).ravel().tolist() == [3]
    cells = GroupedLabels(array, {"cell": []}, [0], [2**64 - 1])
    ids = cells.read_instances("cell", (0, 0, 0), (1, 1, 6))
    assert ids.ravel().tolist() == [0, 2**63, 2**63 + 1, 0, 5, 0]
    with pytest.raises(ArrayError, match=f"ids holds label values .*: {2**63 + 1}"):
        GroupedLabels(array, {"a": [2**63, 5]}, [0], [2**64 - 1]).read((0, 0, 0), (1, 1, 6))


def test_crops_of_one_raw_volume_lie_where_they_were_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 255, (40, 40, 40), np.uint8)
    zarr.create_array(str(tmp_path / "em"), data=raw).attrs["voxel_size"] = [8, 8, 8]
    for crop, (begin, classes) in enumerate((((4, 20, 0), ["mito"]), ((30, 2, 9), ["er", "pm"]))):
        z, y, x = begin
        # what is labelled is what is bright, so that the place can be told
        truth = np.stack([raw[z : z + 6, y : y + 6, x : x + 6] > 100] * len(classes))
        group = zarr.create_group(str(tmp_path / f"crop{crop}"))
        group.create_array("labels", data=truth.astype(np.uint8))
        group.attrs.update({"resolution": [8, 8, 8], "offset": [8 * c for c in begin]})
        dataset = RawGTDatasetConfig.model_validate(
            {
                "name": f"crop{crop}",
                "raw_config": {"file_name": str(tmp_path / "em")},
                "gt_config": {
                    "type": "zarr",
                    "file_name": str(tmp_path / f"crop{crop}"),
                    "dataset": "labels",
                    "channels": classes,
                },
            }
        ).dataset()
        labels, known = dataset.read_labels((0, 0, 0), raw.shape, ["mito", "er", "pm"])
        for index, channel in enumerate(("mito", "er", "pm")):
            assert known[index].any() == (channel in classes)
            assert np.array_equal(labels[index], (raw > 100) & known[index])


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

"""Counts and distances as they are made on a device, against numpy's and scipy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from dacapo_core.data.patch_grid import PatchGrid
from dacapo_core.experiments.datasplits.datasets.arrays.array import NumpyArray
from dacapo_core.experiments.datasplits.datasets.labels import ChannelLabels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.training.processes import ALONE
from dacapo_core.validation import counts
from dacapo_core.validation.counts import Counts, count_above
from dacapo_core.validation.distance_transform import device_distance_to
from dacapo_core.validation.tile_counts import TileCounts
from dacapo_core.validation.tiling import tiles

THRESHOLDS = [0.5, -0.1, 0.1, 0.5, 0.9]


def expected(prediction: np.ndarray, truth: np.ndarray, known: np.ndarray) -> list[Counts]:
    found = []
    for threshold in THRESHOLDS:
        test = prediction > threshold
        tables = ((test, truth), (test, ~truth), (~test, truth), (~test, ~truth))
        found.append(Counts(*(int((a & b & known).sum()) for a, b in tables)))
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("at_once", [7, 2**18])
def test_counts_of_all_thresholds(
    dtype: type, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(counts.VOXELS_AT_ONCE, "cpu", at_once)
    rng = np.random.default_rng(1)
    # every value on a threshold, just above, just below, and what is no number
    near = np.array([t + d for t in THRESHOLDS for d in (-1e-8, 0, 1e-8)], dtype)
    odd = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e-45], dtype)
    shape = (5, 6, 7)
    truth, known = rng.random(shape) < 0.3, rng.random(shape) < 0.8
    some, none = np.ones(shape, bool), np.zeros(shape, bool)
    for prediction in (
        rng.choice(np.concatenate([near, odd]), shape),
        np.full(shape, np.nan, dtype),
        np.full(shape, 0.5, dtype),
        np.zeros((0, 6, 7), dtype),
    ):
        size = len(prediction)
        for t, k in ((truth, known), (some, known), (none, known), (truth, none)):
            given = prediction, t[:size], k[:size]
            tensors = [torch.from_numpy(each) for each in given]
            found = count_above(tensors[0], THRESHOLDS, tensors[1], tensors[2])
            assert found == expected(*given)


@pytest.mark.parametrize("roi", [((0, 0, 0), (None, None, None)), ((1, 3, 2), (20, 23, 17))])
def test_tiles_of_several_processes_have_the_counts_of_the_whole(roi: Any) -> None:
    rng = np.random.default_rng(3)
    raw = NumpyArray("raw", np.zeros((12, 12, 10), np.float32), (16.0,) * 3)
    truth = NumpyArray("truth", rng.random((2, 24, 24, 20)) < 0.4, (8.0,) * 3)
    mask = NumpyArray("mask", rng.random((24, 24, 20)) < 0.8, (8.0,) * 3)
    labels = ChannelLabels(truth, ["nuc", "mito"])
    dataset = RawGTDataset("volume", raw, labels, mask=mask, roi=roi)
    # seven label voxels are no whole number of raw ones: outputs overlap
    grid = PatchGrid.of((8, 8, 8), (7, 7, 7), (2, 2, 2))
    plan = tiles(grid, (0, 0, 0), dataset.begin, dataset.end)
    shape = [e - b for b, e in zip(dataset.begin, dataset.end, strict=True)]
    covered = np.zeros(shape, int)
    for tile in plan:
        covered[tile.target] += 1
    assert (covered == 1).all()

    prediction = torch.from_numpy(rng.random((3, *shape), np.float32))
    total: list[list[Counts]] = []
    for rank in range(3):
        mine = plan[rank::3]
        # the task has a channel more, which is not labelled here
        share = TileCounts(dataset, mine, ["mito", "er", "nuc"], THRESHOLDS, torch.device("cpu"))
        for tile in mine:
            share.add(prediction[(slice(None), *tile.target)])
        found = share.total(ALONE)
        assert list(found) == ["mito", "nuc"]
        total += list(found.values())
        share.close()
    known, both = dataset.read_labels(dataset.begin, dataset.end, ["mito", "nuc"])[::-1]
    for row, index in enumerate((0, 2)):
        summed = [
            Counts(*map(sum, zip(*of_threshold, strict=True)))
            for of_threshold in zip(*total[row::2], strict=True)
        ]
        assert summed == expected(prediction[index].numpy(), both[row], known[row])


def test_counts_of_a_part_of_a_larger_tensor() -> None:
    rng = np.random.default_rng(2)
    whole, truth = rng.random((2, 8, 8, 8)), rng.random((8, 8, 8)) < 0.5
    part = torch.from_numpy(whole)[1, 2:7, :, ::2]
    of_part = torch.from_numpy(truth)[2:7, :, ::2]
    found = count_above(part, THRESHOLDS, of_part, torch.ones_like(of_part))
    assert found == expected(whole[1, 2:7, :, ::2], truth[2:7, :, ::2], np.ones((5, 8, 4), bool))


@pytest.mark.parametrize("size", [(1, 1, 1), (40, 4, 4), (3.24, 3.24, 30.0)])
def test_distances_of_a_device_are_scipys(size: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(3)
    for shape, share in (
        ((9, 30, 21), 0.002),
        ((30, 8, 33), 0.1),
        ((1, 40, 5), 0.05),
        ((40, 1, 1), 0.05),
        ((3, 3, 3), 1.0),
    ):
        mask = rng.random(shape) < share
        # at least one, at a corner: the farthest there is
        mask[-1, -1, 0] = True
        found = device_distance_to(torch.from_numpy(mask), size)
        assert found.dtype == torch.float64
        scipys = ndimage.distance_transform_edt(~mask, sampling=size)
        np.testing.assert_allclose(found.numpy(), scipys, rtol=1e-14)

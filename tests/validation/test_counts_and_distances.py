"""Counts and distances as they are made on a device, against numpy's and scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from dacapo_core.validation import counts
from dacapo_core.validation.counts import Counts, count_above
from dacapo_core.validation.distance_transform import device_distance_to

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

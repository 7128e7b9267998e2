"""Variation of information between two segmentations. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def variation_of_information(
    segmentation: NDArray[Any], truth: NDArray[Any]
) -> tuple[float, float]:
    """Split and merge error in bits: H(segmentation | truth) and H(truth | segmentation).

    Meilă 2007, "Comparing clusterings"; arrays of ids of one shape. NaN without voxels.
    """
    if truth.size == 0:
        return (float("nan"), float("nan"))
    segment = np.unique(segmentation.ravel(), return_inverse=True)[1].astype(np.int64)
    body = np.unique(truth.ravel(), return_inverse=True)[1].astype(np.int64)
    joint = entropy(np.unique(segment * (int(body.max()) + 1) + body, return_counts=True)[1])
    split = joint - entropy(np.bincount(body))
    merge = joint - entropy(np.bincount(segment))
    return (max(split, 0.0), max(merge, 0.0))


def entropy(counts: NDArray[Any]) -> float:
    """Of a distribution given as counts, in bits."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())

"""Voxels that are right and wrong, counted for all thresholds in one pass where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# few enough that what is computed of a part stays small beside a volume
VOXELS_AT_ONCE = {"cpu": 2**18, "cuda": 2**25}


class Counts(NamedTuple):
    """Numbers of known voxels, by what was found and what is true."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


def count_above(
    prediction: Tensor, thresholds: Sequence[float], truth: Tensor, known: Tensor
) -> list[Counts]:
    """The counts of ``prediction > threshold`` for each of `thresholds`, whatever their order.

    NaN is above none.

    Args:
        prediction: of one channel, floating point.
        truth, known: bool, of the same shape and on the same device.
    """
    # compared as numpy and torch compare: in the prediction's own precision
    limits = torch.tensor(sorted(thresholds), dtype=prediction.dtype, device=prediction.device)
    found = len(limits) + 1
    total = torch.zeros(2 * found + 1, dtype=torch.int64, device=prediction.device)
    size = VOXELS_AT_ONCE.get(prediction.device.type, 2**18)
    parts = (each.contiguous().view(-1).split(size) for each in (prediction, truth, known))
    for values, true, certain in zip(*parts, strict=True):
        above = torch.bucketize(values, limits, out_int32=True)
        # sorted, NaN is above all
        above.masked_fill_(values.isnan(), 0)
        above.mul_(2).add_(true).masked_fill_(~certain, 2 * found)
        total += torch.bincount(above, minlength=len(total))
    table = total[:-1].view(found, 2)
    # above the i-th limit is what is above i + 1 of them or more
    positive = table.flip(0).cumsum(0).flip(0)[1:].tolist()
    false, true = table.sum(0).tolist()
    return [
        Counts(p, f, true - p, false - f)
        for f, p in (positive[sorted(thresholds).index(each)] for each in thresholds)
    ]

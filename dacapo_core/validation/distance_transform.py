"""Exact Euclidean distances to a mask, where the mask lies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy import ndimage
from torch import Tensor

# how often it is asked whether nothing can come nearer: that waits for the device
STEPS_AT_ONCE = 8


def distance_to(mask: Tensor, voxel_size: Sequence[float]) -> Tensor:
    """Distance of each voxel to the nearest one of `mask`, float64, in world units.

    On the CPU scipy's, elsewhere `device_distance_to`; they agree to the last digits of float64.

    Args:
        mask: bool, with at least one voxel.
        voxel_size: along each axis.
    """
    if mask.device.type == "cpu":
        return torch.from_numpy(
            ndimage.distance_transform_edt(~mask.numpy(), sampling=tuple(voxel_size))
        )
    return device_distance_to(mask, voxel_size)


def device_distance_to(mask: Tensor, voxel_size: Sequence[float]) -> Tensor:
    """As `distance_to`, by operations on whole volumes.

    Along one axis after the other (Felzenszwalb and Huttenlocher 2012, doi
    10.4086/toc.2012.v008a019): the squared distance is the least of another voxel's so far plus
    the squared step to it. Steps are tried from the shortest on, until none could be nearer.
    """
    squared = torch.where(mask, 0.0, float("inf")).to(torch.float64)
    _fill_first_axis(squared, voxel_size[0])
    for axis in range(1, mask.ndim):
        squared = _nearest_along(squared, axis, voxel_size[axis])
    return squared.sqrt_()


def _fill_first_axis(steps: Tensor, size: float) -> None:
    """Turn zeros and infinities into squared distances along the first axis."""
    count = steps.shape[0]
    for order in (range(1, count), range(count - 2, -1, -1)):
        for index in order:
            torch.minimum(steps[index], steps[index - order.step] + 1, out=steps[index])
    steps.mul_(size).square_()


def _nearest_along(squared: Tensor, axis: int, size: float) -> Tensor:
    best = squared.clone()
    count = squared.shape[axis]
    for step in range(1, count):
        cost = (step * size) ** 2
        if step % STEPS_AT_ONCE == 1 and cost >= float(best.max()):
            break
        for here, there in ((step, 0), (0, step)):
            target = best.narrow(axis, here, count - step)
            other = squared.narrow(axis, there, count - step)
            torch.minimum(target, other + cost, out=target)
    return best

"""Distances to the boundary of a labelled region, in world units, and weights that balance it.

As DaCapo's ``DistancePredictor`` computes them: the boundary lies between voxels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt


def signed_distance(
    inside: NDArray[np.bool_], voxel_size: tuple[float, ...]
) -> NDArray[np.float32]:
    """Distance of each voxel's centre to the nearest boundary face's; positive inside.

    Without any boundary it is half the smallest extent of the array, the least that is certain.

    Args:
        inside: ``(*shape)``.
        voxel_size: one value per axis.
    """
    sign = np.where(inside, np.float32(1), np.float32(-1))
    # a grid twice as fine, on which the faces between voxels have places of their own
    clear = np.ones([2 * size - 1 for size in inside.shape], bool)
    for axis, size in enumerate(inside.shape):
        place = [slice(None, None, 2)] * inside.ndim
        place[axis] = slice(1, None, 2)
        before = inside.take(range(size - 1), axis)
        clear[tuple(place)] = before == inside.take(range(1, size), axis)
    if clear.all():
        extent = min(size * unit for size, unit in zip(inside.shape, voxel_size, strict=True))
        return sign * np.float32(extent / 2)
    distance = distance_transform_edt(clear, sampling=[unit / 2 for unit in voxel_size])
    centres: NDArray[Any] = distance[(slice(None, None, 2),) * inside.ndim]
    return sign * centres.astype(np.float32)


def border_distance(known: NDArray[np.bool_], voxel_size: tuple[float, ...]) -> NDArray[np.float32]:
    """Distance of each voxel to the nearest unknown one; all beyond the array is unknown."""
    distance = distance_transform_edt(np.pad(known, 1), sampling=voxel_size)
    return np.asarray(distance[(slice(1, -1),) * known.ndim], np.float32)


def balanced_weight(
    inside: NDArray[np.bool_], counted: NDArray[np.bool_], clipmin: float, clipmax: float
) -> NDArray[np.float32]:
    """Weights that give foreground and background the same total, zero where not `counted`.

    The share of foreground is taken as no less than `clipmin` and no more than `clipmax`.
    """
    total = counted.sum()
    share = float(np.clip((inside & counted).sum() / max(total, 1), clipmin, clipmax))
    weight = np.where(inside, 0.5 / share, 0.5 / (1 - share))
    return np.asarray(weight * counted, np.float32)

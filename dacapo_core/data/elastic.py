"""Elastic deformation of patches, in nm, so that it is the same at any resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dacapo_core.experiments.datasplits.datasets.arrays.array import Voxels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import as_voxels

Box = tuple[Voxels, Voxels]


@dataclass(frozen=True)
class ElasticField:
    """A smooth displacement: a cubic B-spline over a grid of control points (Rueckert 1999).

    Attributes:
        begin: where the grid's first cell begins, nm, z, y, x.
        spacing: distance of control points, nm.
        points: displacements of the control points, nm, ``(3, z, y, x)``. No displacement is
            larger than theirs.
    """

    begin: tuple[float, ...]
    spacing: float
    points: NDArray[np.float64]

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        box: Box,
        voxel_size: Sequence[float],
        spacing: float,
        displacement: float,
        axes: Sequence[int] = (0, 1, 2),
    ) -> Self:
        """A field over a box of voxels, by up to ±`displacement` nm along each of `axes`."""
        begin, end = (np.multiply(corner, voxel_size) for corner in box)
        cells = np.ceil((end - begin) / spacing).astype(int) + 4
        points = rng.uniform(-displacement, displacement, (3, *cells))
        points[[axis for axis in range(3) if axis not in axes]] = 0
        # the grid does not lie alike in every patch
        first = begin - rng.uniform(0, spacing, 3)
        return cls(tuple(first.tolist()), spacing, points)

    def margin(self, voxel_size: Sequence[float]) -> Voxels:
        """Voxels by which a box must be larger, on each side, to hold what is moved into it."""
        furthest = np.abs(self.points).max(axis=(1, 2, 3))
        return as_voxels(
            [np.ceil(each / size) for each, size in zip(furthest, voxel_size, strict=True)]
        )

    def sources(self, box: Box, voxel_size: Sequence[float]) -> NDArray[np.float64]:
        """Where each voxel of a box comes from: ``(3, z, y, x)``, voxels of the box with `margin`.

        Args:
            box: begin and end, in voxels of `voxel_size`.
        """
        centres = [
            (np.arange(first, last) + 0.5) * size
            for first, last, size in zip(*box, voxel_size, strict=True)
        ]
        weights = [
            _weights((centre - begin) / self.spacing, count)
            for centre, begin, count in zip(centres, self.begin, self.points.shape[1:], strict=True)
        ]
        moved = np.einsum("cijk,xk->cijx", self.points, weights[2])
        moved = np.einsum("cijx,yj->ciyx", moved, weights[1])
        moved = np.einsum("ciyx,zi->czyx", moved, weights[0], optimize=True)
        for axis, (size, more) in enumerate(zip(voxel_size, self.margin(voxel_size), strict=True)):
            shape = [-1 if each == axis else 1 for each in range(3)]
            moved[axis] /= size
            moved[axis] += np.arange(more, more + moved.shape[axis + 1]).reshape(shape)
        return moved


def grown(box: Box, margin: Voxels) -> Box:
    """A box with more voxels on each side."""
    begin, end = (
        as_voxels([edge + side * more for edge, more in zip(corner, margin, strict=True)])
        for corner, side in zip(box, (-1, 1), strict=True)
    )
    return begin, end


def interpolated(array: NDArray[Any], sources: NDArray[np.float64]) -> NDArray[np.float32]:
    """Values of ``(z, y, x)`` at fractional voxels, linear; beyond the border its mirror image."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(array, sources, np.float32, order=1, mode="mirror")


def nearest(array: NDArray[Any], sources: NDArray[np.float64]) -> NDArray[Any]:
    """Values of ``(channels, z, y, x)`` at the nearest voxels, which must be inside."""
    z, y, x = np.rint(sources).astype(np.intp)
    return array[:, z, y, x]


def _weights(positions: NDArray[np.floating[Any]], count: int) -> NDArray[np.float64]:
    """Of each control point at each position, in cells: a cubic B-spline, ``(position, point)``."""
    # a position in cell i depends on the points i to i + 3
    distance = np.abs(positions[:, None] + 1 - np.arange(count)[None])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far)

"""Elastic deformation of patches, in nm, so that it is the same at any resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dacapo_core.data.boxes import Box, Voxels, as_voxels

Take = Callable[[Tensor], Tensor]
"""Gives the values at positions ``(3, z, y, x)``, in voxels."""

# positions are made for so many voxels at a time: they take three times the memory of the patch
MOST_VOXELS = 2**19


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
        """Voxels, z y x, by which values may move: as much is read around a box on each side."""
        furthest = np.abs(self.points).max(axis=(1, 2, 3))
        return as_voxels(
            [np.ceil(each / size) for each, size in zip(furthest, voxel_size, strict=True)]
        )

    def tensors(self, box: Box, voxel_size: Sequence[float]) -> list[NDArray[np.float32]]:
        """What `deform` needs of this field for a box of voxels of `voxel_size` nm.

        Displacements of the control points in voxels, ``(3, z, y, x)``, and along each axis the
        weight of each point at each voxel, ``(voxels, points)``.
        """
        centres = [
            (np.arange(first, last) + 0.5) * size
            for first, last, size in zip(*box, voxel_size, strict=True)
        ]
        weights = [
            _weights((centre - begin) / self.spacing, count)
            for centre, begin, count in zip(centres, self.begin, self.points.shape[1:], strict=True)
        ]
        in_voxels = self.points / np.reshape(voxel_size, (3, 1, 1, 1))
        return [array.astype(np.float32) for array in (in_voxels, *weights)]


def deform(field: Sequence[Tensor], outputs: Sequence[tuple[Take, Tensor]], margin: Voxels) -> None:
    """Fill tensors ``([channels,] z, y, x)`` with what the field moves to each voxel.

    Args:
        field: `ElasticField.tensors` of the box of the outputs, on their device.
        outputs: how to take values at fractional voxels, and where they go.
        margin: voxels by which positions are counted from further out than the box begins.
    """
    points, *weights = field
    depth, height, width = (len(each) for each in weights)
    columns = weights[1] @ (points @ weights[2].T)
    steps = max(1, MOST_VOXELS // (height * width))
    along = [
        torch.arange(more, more + size, dtype=torch.float32, device=points.device)
        for more, size in zip(margin, (depth, height, width), strict=True)
    ]
    for begin in range(0, depth, steps):
        planes = slice(begin, min(begin + steps, depth))
        moved = (weights[0][planes] @ columns.flatten(2)).view(3, -1, height, width)
        moved[0] += along[0][planes, None, None]
        moved[1] += along[1][:, None]
        moved[2] += along[2]
        for take, output in outputs:
            output[..., planes, :, :] = take(moved)


def interpolated(array: Tensor) -> Take:
    """Takes values of ``(z, y, x)`` at fractional voxels, linear; the border goes on outside."""

    def take(sources: Tensor) -> Tensor:
        sizes = torch.tensor(array.shape[::-1], dtype=torch.float32)
        grid = torch.empty((*sources.shape[1:], 3), device=sources.device)
        for axis, size in enumerate(sizes.tolist()):
            # grid_sample counts x first, from -1 to 1 over the array's extent
            torch.mul(sources[2 - axis], 2 / size, out=grid[..., axis])
        grid += (1 / sizes - 1).to(grid.device, non_blocking=True)
        return functional.grid_sample(
            array[None, None], grid[None], "bilinear", "border", align_corners=False
        )[0, 0]

    return take


def nearest(array: Tensor, first: Sequence[int], whole: bool) -> Take:
    """Takes values of ``([channels,] z, y, x)`` at the nearest voxels; zero outside the array.

    Args:
        first: where the array begins, in the voxels that positions are counted in.
        whole: no position is outside.
    """
    shape = array.shape[-3:]
    flat = array.flatten(-3)
    number = torch.int32 if flat.shape[-1] < 2**31 else torch.int64

    def take(sources: Tensor) -> Tensor:
        index: Tensor | None = None
        outside: Tensor | None = None
        for axis, (begin, size) in enumerate(zip(first, shape, strict=True)):
            place = sources[axis].round().to(number)
            place -= begin
            if not whole:
                out = (place < 0) | (place >= size)
                outside = out if outside is None else outside.logical_or_(out)
                place.clamp_(0, size - 1)
            index = place if index is None else index.mul_(size).add_(place)
        assert index is not None
        taken = flat.index_select(-1, index.flatten()).unflatten(-1, index.shape)
        return taken if outside is None else taken.masked_fill_(outside, 0)

    return take


def _weights(positions: NDArray[np.floating[Any]], count: int) -> NDArray[np.float64]:
    """Of each control point at each position, in cells: a cubic B-spline, ``(position, point)``."""
    # a position in cell i depends on the points i to i + 3
    distance = np.abs(positions[:, None] + 1 - np.arange(count)[None])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far)

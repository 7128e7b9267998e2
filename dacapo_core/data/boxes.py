"""Boxes of voxels, z y x. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Voxels = tuple[int, int, int]
"""A position or shape, z y x, in voxels."""


class Box(NamedTuple):
    """The voxels from `begin` up to, not including, `end`."""

    begin: Voxels
    end: Voxels

    @classmethod
    def of(cls, begin: Iterable[Any], end: Iterable[Any]) -> Box:
        """The box between two corners, of any kind of whole numbers."""
        return cls(as_voxels(begin), as_voxels(end))

    @property
    def shape(self) -> Voxels:
        """Voxels along each axis."""
        return as_voxels(e - b for b, e in zip(*self, strict=True))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """What picks the box out of an array that begins at voxel 0."""
        z, y, x = (slice(int(b), int(e)) for b, e in zip(*self, strict=True))
        return (z, y, x)

    def contains(self, voxel: Sequence[int]) -> bool:
        """Whether a voxel is inside."""
        return all(b <= v < e for b, v, e in zip(self.begin, voxel, self.end, strict=True))

    def holds(self, other: Box) -> bool:
        """Whether all of another box is inside."""
        return self.intersection(other) == other

    def intersection(self, other: Box) -> Box | None:
        """What both hold; None if that is nothing."""
        begin = as_voxels(map(max, self.begin, other.begin))
        end = as_voxels(map(min, self.end, other.end))
        return None if any(b >= e for b, e in zip(begin, end, strict=True)) else Box(begin, end)

    def shifted(self, by: Sequence[int]) -> Box:
        """The box further on along each axis."""
        return Box.of(*([c + s for c, s in zip(corner, by, strict=True)] for corner in self))

    def seen_from(self, origin: Sequence[int]) -> Box:
        """The box as it is counted from `origin`."""
        return self.shifted([-o for o in origin])

    def grown(self, margin: Sequence[int]) -> Box:
        """The box with `margin` more voxels on each side."""
        return Box(self.seen_from(margin).begin, self.shifted(margin).end)


def as_voxels(values: Iterable[Any]) -> Voxels:
    """Three whole numbers."""
    z, y, x = (int(value) for value in values)
    return (z, y, x)


def mirrored(begin: int, end: int, size: int) -> NDArray[np.int64]:
    """Where `begin`…`end` lies along an axis of `size` voxels that is mirrored at its ends."""
    place = np.mod(np.arange(begin, end), 2 * size)
    return np.minimum(place, 2 * size - 1 - place)

"""A volume that is read box by box."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_core.data.boxes import Box, Voxels, as_voxels

Nanometres = tuple[float, float, float]
"""A position or size, z y x, in nm."""


class ArrayError(ValueError):
    """An array is there and cannot be used; the message names it."""


class ArrayUnreachableError(ArrayError):
    """An array's storage does not answer for now."""


@dataclass(frozen=True)
class ChunkGrid:
    """How an array is stored.

    Attributes:
        first: voxel where a chunk begins.
        shape: of a chunk.
        nbytes: that reading one takes, before compression.
        counted: whether `bytes_read` counts them.
    """

    first: Voxels
    shape: Voxels
    nbytes: int
    counted: bool = True

    def index(self, voxel: Voxels) -> Voxels:
        """The chunk that a voxel is in."""
        places = zip(voxel, self.first, self.shape, strict=True)
        return as_voxels((v - f) // n for v, f, n in places)

    def box(self, voxel: Voxels) -> Box:
        """The chunk that a voxel is in."""
        index = self.index(voxel)
        chunk = Box((0, 0, 0), self.shape).shifted(self.first)
        return chunk.shifted([i * n for i, n in zip(index, self.shape, strict=True)])


class Array(ABC):
    """A three-dimensional array with a place in the world.

    Attributes:
        name: how messages call it: its URL.
        shape: z, y, x, in voxels.
        num_channels: length of the channel axis before them; None without one.
        voxel_size: z, y, x, in nm.
        offset: where the first voxel begins, in nm.
        dtype: of the voxels as they are read.
        known_range: values that become -1 and 1, of raw data that is made to have them.
    """

    name: str
    shape: Voxels
    num_channels: int | None
    voxel_size: Nanometres
    offset: Nanometres
    dtype: np.dtype[Any]
    known_range: tuple[float, float] | None = None

    @abstractmethod
    def read(self, begin: Voxels, end: Voxels) -> NDArray[Any]:
        """The voxels from `begin` up to `end`, which are inside: ``(z, y, x)``, or
        ``(channels, z, y, x)``. Safe to call from several threads.

        Raises:
            ArrayError: they cannot be read; it names the array.
        """

    def start_read(self, begin: Voxels, end: Voxels) -> Callable[[], NDArray[Any]]:
        """Begin to read a box; call what is returned to wait for what `read` gives.

        Several may be under way. Each raises as `read` does.
        """
        values = self.read(begin, end)
        return lambda: values

    @property
    def chunks(self) -> ChunkGrid:
        """How it is stored; in memory, as one that costs nothing."""
        return ChunkGrid((0, 0, 0), self.shape, 0)

    def stored_voxels(self, seconds: float) -> list[Voxels]:
        """A voxel of each chunk that was ever written, in any order.

        Args:
            seconds: to find them in; empty where they are too many for that, or cannot be listed.
        """
        return []


class NumpyArray(Array):
    """An array in memory."""

    def __init__(
        self,
        name: str,
        data: NDArray[Any],
        voxel_size: Nanometres,
        offset: Nanometres = (0.0, 0.0, 0.0),
    ) -> None:
        self.name = name
        self.data = data
        self.shape = as_voxels(data.shape[-3:])
        self.num_channels = data.shape[0] if data.ndim == 4 else None
        self.voxel_size = voxel_size
        self.offset = offset
        self.dtype = data.dtype

    def read(self, begin: Voxels, end: Voxels) -> NDArray[Any]:
        return self.data[(..., *Box(begin, end).slices)]


def same_voxel_size(one: Nanometres, other: Nanometres) -> bool:
    """Whether two sizes differ by rounding at most: by no more than 1 %."""
    return bool(np.allclose(one, other, rtol=0.01, atol=0))

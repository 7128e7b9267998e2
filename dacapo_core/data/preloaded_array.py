"""An array of which a part may be kept in memory, on the host or on a device."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dacapo_core.data.boxes import Box, Voxels
from dacapo_core.data.dtype_conversion import stored_tensor
from dacapo_core.experiments.datasplits.datasets.arrays.array import Array

# read at a time when a volume is brought into memory
_SLAB_BYTES = 64 * 2**20
_READERS = 4


class PreloadedArray(Array):
    """An array that reads as `array` does, from memory where that part is kept.

    Attributes:
        array: where the voxels come from.
        kept: the kept part in its stored type, see `stored_tensor`; None while there is none.
        box: the voxels that are kept.
    """

    def __init__(self, array: Array) -> None:
        self.array = array
        self.name = array.name
        self.shape = array.shape
        self.num_channels = array.num_channels
        self.voxel_size = array.voxel_size
        self.offset = array.offset
        self.dtype = array.dtype
        self.known_range = array.known_range
        self.kept: Tensor | None = None
        self.box = Box((0, 0, 0), (0, 0, 0))

    def bytes_of(self, begin: Voxels, end: Voxels) -> int:
        """Bytes that keeping a box takes."""
        return prod(Box(begin, end).shape) * (self.num_channels or 1) * self.dtype.itemsize

    def keep(self, begin: Voxels, end: Voxels, device: torch.device) -> None:
        """Read a box into the memory of a device.

        Raises:
            ArrayError: it cannot be read.
            MemoryError, torch.OutOfMemoryError: there is too little memory.
        """
        plane = max(1, self.bytes_of(begin, (begin[0] + 1, *end[1:])))
        step = max(1, _SLAB_BYTES // plane)
        leading = () if self.num_channels is None else (self.num_channels,)
        shape = (*leading, *Box(begin, end).shape)
        like = stored_tensor(np.empty(0, self.dtype)).dtype
        kept = torch.empty(shape, dtype=like, device=device)

        def fill(start: int) -> None:
            stop = min(start + step, end[0])
            values = stored_tensor(self.array.read((start, *begin[1:]), (stop, *end[1:])))
            kept[..., start - begin[0] : stop - begin[0], :, :] = values.to(device)

        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(fill, range(begin[0], end[0], step)))
        self.kept, self.box = kept, Box(begin, end)

    def move_to(self, device: torch.device) -> None:
        """Move what is kept to another device."""
        if self.kept is not None:
            self.kept = self.kept.to(device)

    def release(self) -> None:
        """Give up what is kept; `array` is read again."""
        self.kept = None

    def start_crop(self, begin: Voxels, end: Voxels) -> Callable[[], Tensor]:
        """Begin to read a box; what is returned waits for it.

        That gives ``([channels,] z, y, x)`` as `stored_tensor` has it, where it is kept or else on
        the host, or raises ArrayError.
        """
        kept = self._kept_of(begin, end)
        if kept is not None:
            return lambda: kept
        reading = self.array.start_read(begin, end)
        return lambda: stored_tensor(reading())

    def read(self, begin: Voxels, end: Voxels) -> NDArray[Any]:
        kept = self._kept_of(begin, end)
        if kept is None:
            return self.array.read(begin, end)
        return kept.cpu().numpy().view(self.dtype.newbyteorder("="))

    def start_read(self, begin: Voxels, end: Voxels) -> Callable[[], NDArray[Any]]:
        if self._kept_of(begin, end) is None:
            return self.array.start_read(begin, end)
        return super().start_read(begin, end)

    def _kept_of(self, begin: Voxels, end: Voxels) -> Tensor | None:
        """A view of a box; None where not all of it is kept."""
        wanted, kept = Box(begin, end), self.kept
        if kept is None or not self.box.holds(wanted):
            return None
        return kept[(..., *wanted.seen_from(self.box.begin).slices)]

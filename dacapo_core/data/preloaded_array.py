"""An array of which a part may be kept in memory, on the host or on a device."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dacapo_core.data.dtype_conversion import stored_tensor
from dacapo_core.experiments.datasplits.datasets.arrays.array import Array, Reading, Voxels, box

# read at once when a volume is brought into memory
_SLAB_BYTES = 64 * 2**20
_READERS = 4


class PreloadedArray(Array):
    """An array that reads as `array` does, from memory where that part is kept.

    Attributes:
        array: where the voxels come from.
        kept: the kept part in its stored type, see `stored_tensor`; None while there is none.
        first: the first voxel of the kept part.
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
        self.first: Voxels = (0, 0, 0)
        self._end: Voxels = (0, 0, 0)

    def bytes_of(self, begin: Voxels, end: Voxels) -> int:
        """Memory that keeping a box takes."""
        voxels = (self.num_channels or 1) * self.dtype.itemsize
        for first, last in zip(begin, end, strict=True):
            voxels *= last - first
        return voxels

    def keep(self, begin: Voxels, end: Voxels, device: torch.device) -> None:
        """Read a box into the memory of a device.

        Raises:
            ArrayError: it cannot be read.
            MemoryError, torch.OutOfMemoryError: there is too little memory.
        """
        plane = max(1, self.bytes_of(begin, (begin[0] + 1, *end[1:])))
        step = max(1, _SLAB_BYTES // plane)
        leading = () if self.num_channels is None else (self.num_channels,)
        shape = (*leading, *(b - a for a, b in zip(begin, end, strict=True)))
        like = stored_tensor(np.empty(0, self.dtype)).dtype
        kept = torch.empty(shape, dtype=like, device=device)

        def fill(start: int) -> None:
            stop = min(start + step, end[0])
            values = stored_tensor(self.array.read((start, *begin[1:]), (stop, *end[1:])))
            kept[..., start - begin[0] : stop - begin[0], :, :] = values.to(device)

        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(fill, range(begin[0], end[0], step)))
        self.kept, self.first, self._end = kept, begin, end

    def move_to(self, device: torch.device) -> None:
        """Bring what is kept to a device."""
        if self.kept is not None:
            self.kept = self.kept.to(device)

    def release(self) -> None:
        """Keep nothing."""
        self.kept = None

    def start_crop(self, begin: Voxels, end: Voxels) -> Callable[[], Tensor]:
        """Begin to read a box; what is returned waits for it.

        That gives ``([channels,] z, y, x)`` as `stored_tensor` has it, where it is kept or else on
        the host, or raises ArrayError.
        """
        if self.kept is not None and self._holds(begin, end):
            inside = self._inside(self.kept, begin, end)
            return lambda: inside
        reading = self.array.start_read(begin, end)
        return lambda: stored_tensor(reading.result())

    def read(self, begin: Voxels, end: Voxels) -> NDArray[Any]:
        if self.kept is None or not self._holds(begin, end):
            return self.array.read(begin, end)
        values = self._inside(self.kept, begin, end).cpu().numpy()
        return values.view(self.dtype.newbyteorder("="))

    def start_read(self, begin: Voxels, end: Voxels) -> Reading:
        if self.kept is None or not self._holds(begin, end):
            return self.array.start_read(begin, end)
        return super().start_read(begin, end)

    def _holds(self, begin: Voxels, end: Voxels) -> bool:
        return all(
            f <= b and e <= last
            for f, b, e, last in zip(self.first, begin, end, self._end, strict=True)
        )

    def _inside(self, kept: Tensor, begin: Voxels, end: Voxels) -> Tensor:
        first, last = (
            tuple(c - f for c, f in zip(corner, self.first, strict=True)) for corner in (begin, end)
        )
        return kept[(..., *box(first, last))]  # type: ignore[arg-type]

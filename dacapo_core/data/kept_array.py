"""An array of which a part may be kept in memory, on the host or on a device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from dacapo_core.data.stored_types import stored_tensor
from dacapo_core.experiments.datasplits.datasets.arrays.array import Array, Reading, Voxels, box

# read at once when a volume is brought into memory
_SLAB_BYTES = 64 * 2**20
_READERS = 4


class KeptArray(Array):
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
        self.kept: Tensor | None = None
        self.first: Voxels = (0, 0, 0)
        self._end: Voxels = (0, 0, 0)

    def bytes_of(self, begin: Voxels, end: Voxels) -> int:
        """Memory that keeping a box takes."""
        voxels = (self.num_channels or 1) * self.dtype.itemsize
        for first, last in zip(begin, end, strict=True):
            voxels *= last - first
        return voxels

    def keep(self, begin: Voxels, end: Voxels) -> None:
        """Read a box into host memory.

        Raises:
            ArrayError: it cannot be read.
            MemoryError: there is too little memory.
        """
        plane = max(1, self.bytes_of(begin, (begin[0] + 1, *end[1:])))
        step = max(1, _SLAB_BYTES // plane)
        starts = list(range(begin[0], end[0], step))

        def slab(start: int) -> Tensor:
            stop = min(start + step, end[0])
            return stored_tensor(self.array.read((start, *begin[1:]), (stop, *end[1:])))

        leading = () if self.num_channels is None else (self.num_channels,)
        first = slab(starts[0])
        shape = (*leading, *(b - a for a, b in zip(begin, end, strict=True)))
        kept = torch.empty(shape, dtype=first.dtype)
        kept[..., : first.shape[-3], :, :] = first

        def fill(start: int) -> None:
            values = slab(start)
            place = start - begin[0]
            kept[..., place : place + values.shape[-3], :, :] = values

        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(fill, starts[1:]))
        self.kept, self.first, self._end = kept, begin, end

    def move_to(self, device: torch.device) -> None:
        """Bring what is kept to a device; the host's memory is given back.

        Raises:
            torch.OutOfMemoryError: the device has too little memory; it stays where it was.
        """
        if self.kept is not None:
            self.kept = self.kept.to(device)

    def release(self) -> None:
        """Keep nothing."""
        self.kept = None

    def crop(self, begin: Voxels, end: Voxels) -> Tensor:
        """A box ``([channels,] z, y, x)`` as `stored_tensor` has it, where it is kept or read."""
        if self.kept is not None and self._holds(begin, end):
            return self._inside(self.kept, begin, end)
        return stored_tensor(self.array.read(begin, end))

    def read(self, begin: Voxels, end: Voxels) -> NDArray[Any]:
        if self.kept is None or self.kept.device.type != "cpu" or not self._holds(begin, end):
            return self.array.read(begin, end)
        values = self._inside(self.kept, begin, end).numpy()
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

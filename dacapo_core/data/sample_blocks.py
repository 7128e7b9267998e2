"""Which blocks of raw data are read to see its values: spread over a volume, each in one chunk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_core.data.boxes import Box, Voxels, as_voxels
from dacapo_core.experiments.datasplits.datasets.arrays.array import Array
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

_BLOCK_VOXELS = 2**18
# steps along the axes that fill a box evenly, wherever they end (the plastic number's powers)
_STEPS = np.array([0.8191725133961645, 0.6710436067037893, 0.5497004779019703])


@dataclass
class SampleBlock:
    """A block that is read.

    Attributes:
        cost: bytes that are read for it; 0 where its chunk is read for another.
        future: some of its voxels, and whether all of its voxels are equal.
    """

    box: Box
    cost: int
    future: Future[tuple[NDArray[Any], bool]] | None = None


@dataclass
class SampledVolume:
    """The part of a volume whose labels are used.

    Attributes:
        index: decides, as a seed, which blocks are read.
        box: the part, in raw voxels.
        wanted, most: how many blocks to read, and how many where those show only padding.
        voxels: how many of a block are kept.
        blocks: those asked for so far.
        chunks_read: indices of the chunks that they are in.
    """

    dataset: RawGTDataset
    index: int
    box: Box
    wanted: int
    most: int
    voxels: int
    blocks: list[SampleBlock] = field(default_factory=list)
    chunks_read: set[Voxels] = field(default_factory=set)
    places: Iterator[Box] | None = None

    @property
    def raw(self) -> Array:
        return self.dataset.raw

    @property
    def done(self) -> list[tuple[NDArray[Any], bool]]:
        """What was read of each block, in the order in which they were asked for.

        Raises:
            ArrayError: a block cannot be read.
        """
        futures = [block.future for block in self.blocks if block.future is not None]
        return [each.result() for each in futures if each.done() and not each.cancelled()]

    def next_blocks(self, count: int) -> list[SampleBlock]:
        """Up to `count` more blocks, each in one chunk, spread like those before."""
        if self.places is None:
            self.places = self._spread()
        chunks = self.raw.chunks
        found = []
        for _, box in zip(range(count), self.places, strict=False):
            chunk = chunks.index(box[0])
            found.append(SampleBlock(box, 0 if chunk in self.chunks_read else chunks.nbytes))
            self.chunks_read.add(chunk)
        self.blocks += found
        return found

    def written(self, seconds: float) -> list[SampleBlock]:
        """Blocks of chunks that were ever written, for where chance met none of the few.

        Args:
            seconds: that listing the chunks may take.
        """
        inside = [
            voxel for voxel in self.raw.stored_voxels(max(0.0, seconds)) if self.box.contains(voxel)
        ]
        order = np.random.default_rng(self.index).permutation(len(inside))[: self.wanted]
        known = {block.box for block in self.blocks}
        boxes = [self._block_around(sorted(inside)[place]) for place in order]
        found = [SampleBlock(box, self.raw.chunks.nbytes) for box in boxes if box not in known]
        self.blocks += found
        return found

    def _spread(self) -> Iterator[Box]:
        """Blocks spread evenly over the box, each within a chunk, none twice."""
        begin, extent = self.box.begin, self.box.shape
        at = np.random.default_rng(self.index).random(3)
        known: set[Box] = set()
        misses = 0
        while misses < 4 * self.wanted:
            at = (at + _STEPS) % 1
            point = [b + int(share * n) for b, share, n in zip(begin, at, extent, strict=True)]
            box = self._block_around(point)
            if box in known:
                misses += 1
                continue
            misses = 0
            known.add(box)
            yield box

    def _block_around(self, point: Sequence[int]) -> Box:
        """The chunk around a point, as far as it is in the volume; a part of it if it is large."""
        chunk = self.raw.chunks.box(as_voxels(point)).intersection(self.box)
        assert chunk is not None
        size = list(chunk.shape)
        while math.prod(size) > _BLOCK_VOXELS:
            longest = size.index(max(size))
            size[longest] = -(-size[longest] // 2)
        # parts of a chunk begin at whole parts, so that near points are not looked at twice
        begin = [a + (p - a) // n * n for a, p, n in zip(chunk.begin, point, size, strict=True)]
        end = [min(b + n, e) for b, n, e in zip(begin, size, chunk.end, strict=True)]
        return Box.of(begin, end)

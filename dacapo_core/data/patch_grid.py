"""Where a patch's output lies in its input, and where patches fit in a volume. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from dacapo_core.data.boxes import Box, Voxels, as_voxels
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

Range = tuple[int, int]


@dataclass(frozen=True)
class PatchGrid:
    """Input and output boxes of a network, in three dimensions.

    Input positions count raw voxels, output positions label voxels; see ``RawGTDataset``.

    Attributes:
        input_shape, output_shape: z, y, x.
        scale: label voxels along one raw voxel.
    """

    input_shape: Voxels
    output_shape: Voxels
    scale: Voxels

    @classmethod
    def of(
        cls, input_shape: Sequence[int], output_shape: Sequence[int], scale: Sequence[int]
    ) -> Self:
        """A grid of two or three dimensions; two become sections.

        Raises:
            ValueError: the output is larger than the input.
        """
        missing = (1,) * (3 - len(input_shape))
        grid = cls(*(as_voxels((*missing, *s)) for s in (input_shape, output_shape, scale)))
        if any(margin < 0 for margin in grid._margins):
            raise ValueError(
                f"output shape {tuple(output_shape)} is larger than input shape "
                f"{tuple(input_shape)} times {tuple(scale)}"
            )
        return grid

    @property
    def _margins(self) -> list[int]:
        return [
            n * s - m
            for n, s, m in zip(self.input_shape, self.scale, self.output_shape, strict=True)
        ]

    @property
    def context(self) -> Voxels:
        """Label voxels that the input reaches beyond the output, on the lower side."""
        return as_voxels([margin // 2 for margin in self._margins])

    def input_box(self, begin: Sequence[int]) -> Box:
        """The input whose first raw voxel is `begin`."""
        return Box((0, 0, 0), self.input_shape).shifted(begin)

    def output_box(self, begin: Sequence[int]) -> Box:
        """The output of the input whose first raw voxel is `begin`."""
        first = [b * s + c for b, s, c in zip(begin, self.scale, self.context, strict=True)]
        return Box((0, 0, 0), self.output_shape).shifted(first)

    def nearest(self, output_begin: Sequence[int], ranges: Sequence[Range]) -> tuple[int, ...]:
        """The first raw voxel, within `ranges`, of the patch whose output begins nearest."""
        begins = [
            (o - c) // s for o, c, s in zip(output_begin, self.context, self.scale, strict=True)
        ]
        return tuple(
            int(np.clip(b, low, high)) for b, (low, high) in zip(begins, ranges, strict=True)
        )

    def positions(self, dataset: RawGTDataset) -> list[Range]:
        """Along each axis, the first and last raw voxel where a patch may begin.

        Its input is inside the raw data, and its output, as far as possible, inside the labels.

        Raises:
            ArrayError: the volume is smaller than the input, or has no labels far enough from
                its border.
        """
        if any(n < m for n, m in zip(dataset.raw.shape, self.input_shape, strict=True)):
            raise ArrayError(
                f"raw data {dataset.raw.name} of shape {dataset.raw.shape} is smaller than the "
                f"input of the network {self.input_shape}; take a smaller "
                "architecture_config.input_shape or a larger volume"
            )
        ranges = []
        for axis in range(3):
            scale, context = self.scale[axis], self.context[axis]
            size, begin, end = self.output_shape[axis], dataset.begin[axis], dataset.end[axis]
            last = dataset.raw.shape[axis] - self.input_shape[axis]
            inside = sorted((begin, end - size))
            touching = [begin - size + 1, end - 1]
            for low, high in (inside, touching):
                first = max(0, -(-(low - context) // scale))
                final = min(last, (high - context) // scale)
                if first <= final:
                    ranges.append((first, final))
                    break
            else:
                raise ArrayError(
                    f"volume {dataset.name!r}: no labels in {'zyx'[axis]} where the network's "
                    f"input of {self.input_shape[axis]} voxels fits into raw data "
                    f"{dataset.raw.name} of {dataset.raw.shape[axis]}; it needs raw data around "
                    "the labels, a smaller input_shape, or padding 'same'"
                )
        return ranges

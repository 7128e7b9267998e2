"""Which input sizes a U-Net takes and what it returns for them: arithmetic on one axis.

The rules are CNNectome's (Heinrich et al. 2021, doi 10.1038/s41586-021-03977-3), shared by
DaCapo's ``CNNectomeUNet`` and the published COSEM networks: before the convolutions of each
level on the way up, a feature map is cropped so that what leaves the level is a multiple of
the downsampling still to come. That makes the network equivariant under shifts by `step`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, prod


@dataclass(frozen=True)
class UNetAxis:
    """One axis of a U-Net. A crop is what a level's convolutions take away; 0 with "same" padding.

    ``crops_down`` has one entry a level, the bottom last; ``factors`` and ``crops_up`` have one
    less. ``upsample_factors`` and ``upsample_crops`` follow the U-Net proper.
    """

    factors: tuple[int, ...]
    crops_down: tuple[int, ...]
    crops_up: tuple[int, ...]
    upsample_factors: tuple[int, ...] = ()
    upsample_crops: tuple[int, ...] = ()

    @property
    def step(self) -> int:
        """By how much an input may grow: the product of the downsampling factors."""
        return prod(self.factors)

    def stride(self, level: int) -> int:
        """What feature maps leaving `level` on the way up are a multiple of."""
        return prod(self.factors[level:])

    def input_size(self, bottom: int) -> int:
        """The input that leaves `bottom` voxels after the bottom's convolutions."""
        size = bottom + self.crops_down[-1]
        for factor, crop in zip(
            reversed(self.factors), reversed(self.crops_down[:-1]), strict=True
        ):
            size = size * factor + crop
        return size

    def bottom_size(self, size: int) -> int | None:
        """Voxels left after the bottom's convolutions; None if a level does not divide evenly."""
        for factor, crop in zip(self.factors, self.crops_down[:-1], strict=True):
            size -= crop
            if size < 1 or size % factor:
                return None
            size //= factor
        size -= self.crops_down[-1]
        return size if size >= 1 else None

    def output_size(self, size: int) -> int | None:
        """What comes out for an input of `size` voxels; None if such an input does not fit."""
        bottom = self.bottom_size(size)
        if bottom is None:
            return None
        size = bottom
        for level in reversed(range(len(self.factors))):
            stride = self.stride(level)
            size = (size * self.factors[level] - self.crops_up[level]) // stride * stride
            if size < 1:
                return None
        for factor, crop in zip(self.upsample_factors, self.upsample_crops, strict=True):
            size = size * factor - crop
            if size < 1:
                return None
        return size

    def smallest_input_size(self) -> int:
        """The smallest input that gives any output."""
        bottom = 1
        while self.output_size(self.input_size(bottom)) is None:
            bottom += 1
        return self.input_size(bottom)

    def minimal_input_size(self) -> int:
        """The smallest input for which an output voxel sees its full context on every level.

        The published minimum of the COSEM networks (216 for theirs); larger than
        `smallest_input_size` where cropping for equivariance eats into the context.
        """
        needed = [Fraction(1)] * len(self.factors)
        for level, (factor, crop) in enumerate(zip(self.factors, self.crops_up, strict=True)):
            stride = self.stride(level)
            context = ceil(Fraction(crop, stride)) * stride
            # an odd context cannot be cropped evenly from both sides
            context += context % 2 * stride
            for above in range(level + 1):
                needed[above] = (needed[above] + context) / factor
        return self.input_size(max(ceil(size) for size in needed))

    def nearest_input_sizes(self, size: int) -> list[int]:
        """The valid sizes around `size`, at most one below and one above."""
        smallest = self.smallest_input_size()
        if size < smallest:
            return [smallest]
        below = size - (size - smallest) % self.step
        return [below] if below == size else [below, below + self.step]

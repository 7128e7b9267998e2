"""Variation of one training patch: drawn on the host, carried out where the patch is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dacapo_core.experiments.datasplits.augmentation_config import AugmentationConfig


@dataclass(frozen=True)
class Turn:
    """Mirroring along axes, then another order of them; axes count z, y, x from 0."""

    flips: tuple[int, ...] = ()
    order: tuple[int, int, int] = (0, 1, 2)

    @classmethod
    def draw(
        cls,
        config: AugmentationConfig,
        rng: np.random.Generator,
        shapes: Sequence[Sequence[int]],
        voxel_size: Sequence[float],
    ) -> Self:
        """A random turn that changes none of `shapes` and exchanges only axes of one voxel size."""
        flips = tuple(axis for axis in range(3) if config.mirror and rng.random() < 0.5)
        orders = _orders(config, shapes, voxel_size)
        return cls(flips, orders[rng.integers(len(orders))])

    def __call__(self, patch: Tensor) -> Tensor:
        """`patch` ``([channels,] z, y, x)``, turned; the result may share its memory."""
        leading = patch.ndim - 3
        turned = patch.flip([leading + axis for axis in self.flips]) if self.flips else patch
        return turned.permute(*range(leading), *(leading + axis for axis in self.order))


@dataclass(frozen=True)
class Intensity:
    """Contrast, brightness and noise of raw data in -1…1.

    Attributes:
        sections: what is added to each section, ``(z,)``: brightness and the section's own shift.
        noise: its standard deviation.
        seed: of the noise.
    """

    contrast: float
    sections: NDArray[np.float32]
    noise: float
    seed: int

    @classmethod
    def draw(cls, config: AugmentationConfig, rng: np.random.Generator, depth: int) -> Self:
        """A random variation of a patch of `depth` sections."""
        contrast = rng.uniform(1 - config.contrast, 1 + config.contrast)
        brightness = rng.uniform(-config.brightness, config.brightness)
        sections = rng.normal(0, config.section_brightness, depth)
        noise = rng.uniform(0, config.noise)
        return cls(
            float(contrast),
            (brightness + sections).astype(np.float32),
            float(noise),
            int(rng.integers(2**63)),
        )

    def apply(self, raw: Tensor, sections: Tensor) -> None:
        """Vary ``(z, y, x)`` in place.

        Args:
            sections: `sections` on the device of `raw`.
        """
        # section by section: a sum over all may be split differently from run to run
        mean = raw.flatten(1).mean(1).mean()
        raw.sub_(mean).mul_(self.contrast).add_((sections + mean)[:, None, None])
        if self.noise:
            # of this call alone: other threads make noise meanwhile
            generator = torch.Generator(raw.device).manual_seed(self.seed)
            noise = torch.randn(
                raw.shape, generator=generator, device=raw.device, dtype=torch.float32
            )
            raw.add_(noise, alpha=self.noise)


def _orders(
    config: AugmentationConfig, shapes: Sequence[Sequence[int]], voxel_size: Sequence[float]
) -> list[tuple[int, int, int]]:
    """Orders of the three axes that exchange only those that are alike in every array."""
    if not config.transpose:
        return [(0, 1, 2)]
    alike = [
        (round(voxel_size[axis], 3), *(shape[axis - 3] for shape in shapes)) for axis in range(3)
    ]
    return [
        (z, y, x)
        for z, y, x in itertools.permutations(range(3))
        if all(alike[axis] == alike[position] for position, axis in enumerate((z, y, x)))
    ]

"""Variation of one training patch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_core.experiments.datasplits.augmentation_config import AugmentationConfig


def augment_geometry(
    config: AugmentationConfig,
    rng: np.random.Generator,
    arrays: Sequence[NDArray[Any]],
    voxel_size: Sequence[float],
) -> list[NDArray[Any]]:
    """Mirror and transpose arrays alike; their last three axes are z, y, x."""
    flips = [axis for axis in (-3, -2, -1) if config.mirror and rng.random() < 0.5]
    orders = _orders(config, arrays, voxel_size)
    order = orders[rng.integers(len(orders))]
    return [_turn(array, flips, order) for array in arrays]


def augment_intensity(
    config: AugmentationConfig, rng: np.random.Generator, raw: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Vary contrast, brightness and noise of raw data ``(z, y, x)`` in -1…1."""
    contrast = rng.uniform(1 - config.contrast, 1 + config.contrast)
    brightness = rng.uniform(-config.brightness, config.brightness)
    sections = rng.normal(0, config.section_brightness, (raw.shape[0], 1, 1))
    mean = raw.mean(dtype=np.float64)
    varied = raw - np.float32(mean)
    varied *= np.float32(contrast)
    varied += (mean + brightness + sections).astype(np.float32)
    deviation = np.float32(rng.uniform(0, config.noise))
    noise = rng.standard_normal(raw.shape, np.float32)
    noise *= deviation
    varied += noise
    return varied


def _orders(
    config: AugmentationConfig, arrays: Sequence[NDArray[Any]], voxel_size: Sequence[float]
) -> list[tuple[int, ...]]:
    """Orders of the three axes that exchange only those that are alike in every array."""
    if not config.transpose:
        return [(0, 1, 2)]
    alike = [
        (round(voxel_size[axis], 3), *(array.shape[axis - 3] for array in arrays))
        for axis in range(3)
    ]
    return [
        order
        for order in itertools.permutations(range(3))
        if all(alike[axis] == alike[position] for position, axis in enumerate(order))
    ]


def _turn(array: NDArray[Any], flips: list[int], order: tuple[int, ...]) -> NDArray[Any]:
    leading = array.ndim - 3
    axes = (*range(leading), *(leading + axis for axis in order))
    return np.flip(array, tuple(flips)).transpose(axes)

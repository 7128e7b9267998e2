"""Volumes that look like electron micrographs of tissue, drawn from a seed.

Cells are a warped Voronoi tessellation with membranes (``pm``) between them. In them lie
mitochondria (``mito``) with a membrane (``mito_mem``) and cristae, vesicles (``ves``) and sheets
of endoplasmic reticulum (``er``). Then blur, noise and a slow drift of intensity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

CHANNELS = ("pm", "mito", "mito_mem", "ves", "er")

# sizes in nm
CELL = 260.0
MEMBRANE = 10.0
MITO_RADIUS = (36.0, 56.0)
MITO_LENGTH = (1.2, 2.0)
MITO_MEMBRANE = 10.0
CRISTAE_PERIOD = 34.0
VESICLE_RADIUS = (20.0, 28.0)
ER_THICKNESS = 0.16

# grey values in -1…1, dark is stained
CYTOPLASM = 0.35
PM_GREY = -0.55
MITO_GREY = -0.2
MITO_MEM_GREY = -0.5
CRISTAE_GREY = -0.45
VESICLE_GREY = (-0.45, 0.45)
ER_GREY = -0.35


def generate(
    rng: np.random.Generator,
    shape: Sequence[int],
    voxel_size: Sequence[float],
    *,
    label_scale: Sequence[int] = (1, 1, 1),
    noise: float = 0.12,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Raw data and labels of one volume; the same `rng` gives the same volume.

    Args:
        shape: of the raw data, z y x, in voxels.
        voxel_size: of the raw data, z y x, in nm.
        label_scale: label voxels along one raw voxel.
        noise: standard deviation.

    Returns:
        raw ``(z, y, x)`` in -1…1, and labels ``(5, z, y, x)`` in the order of ``CHANNELS``.
    """
    fine = tuple(n * s for n, s in zip(shape, label_scale, strict=True))
    voxel = np.array(voxel_size, np.float32) / np.array(label_scale, np.float32)
    labels = np.zeros((len(CHANNELS), *fine), bool)
    pm, mito, mito_mem, ves, er = labels
    grey = np.full(fine, CYTOPLASM, np.float32)

    membrane_distance, cells = _cells(rng, fine, voxel)
    grey += rng.normal(0, 0.06, cells.max() + 1).astype(np.float32)[cells]
    pm |= membrane_distance < MEMBRANE
    free = membrane_distance > 2 * MEMBRANE
    extent = np.array(fine) * voxel
    cubes = float(np.prod(extent)) / CELL**3

    for _ in range(_count(rng, 12 * cubes, at_least=8)):
        _add_mitochondrion(rng, voxel, extent, free, grey, mito, mito_mem)
    free &= ~_grown(mito, MEMBRANE, voxel)
    field = smooth_noise(rng, fine, 60.0 / voxel)
    er |= (np.abs(field) < ER_THICKNESS) & free & (smooth_noise(rng, fine, 90.0 / voxel) > 0.35)
    grey[er] = ER_GREY
    free &= ~_grown(er, MEMBRANE, voxel)
    for _ in range(_count(rng, 110 * cubes, at_least=40)):
        _add_vesicle(rng, voxel, extent, free, grey, ves)
    grey[pm] = PM_GREY

    raw = _mean_of_blocks(ndimage.gaussian_filter(grey, 5.0 / voxel, truncate=2.5), label_scale)
    raw += 0.12 * smooth_noise(rng, raw.shape, 250.0 / np.asarray(voxel_size))
    raw += rng.normal(0, 0.03, (raw.shape[0], 1, 1)).astype(np.float32)
    raw += noise * rng.standard_normal(raw.shape, np.float32)
    return np.clip(raw, -1, 1, dtype=np.float32), labels


def smooth_noise(
    rng: np.random.Generator, shape: Sequence[int], length: NDArray[Any]
) -> NDArray[np.float32]:
    """Noise of standard deviation about 1 that varies over `length` voxels along each axis."""
    coarse = [max(2, int(np.ceil(n / step)) + 2) for n, step in zip(shape, length, strict=True)]
    values = rng.standard_normal(coarse, np.float32)
    for axis, (n, step) in enumerate(zip(shape, length, strict=True)):
        at = np.minimum(np.arange(n) / step, values.shape[axis] - 1.001)
        low = at.astype(int)
        part = (at - low).astype(np.float32)
        part = part * part * (3 - 2 * part)
        part = part.reshape([-1 if i == axis else 1 for i in range(len(coarse))])
        values = np.take(values, low, axis) * (1 - part) + np.take(values, low + 1, axis) * part
    # interpolating between independent values makes them smaller
    return np.asarray(values * np.float32(1.5))


def _count(rng: np.random.Generator, mean: float, at_least: int) -> int:
    return max(at_least, int(rng.poisson(mean)))


def _cells(
    rng: np.random.Generator, shape: tuple[int, ...], voxel: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Distance from the nearest membrane in nm, and the number of each voxel's cell."""
    extent = np.array(shape) * voxel
    count = max(4, int(np.prod(extent + CELL) / CELL**3))
    seeds = rng.uniform(-CELL / 2, extent + CELL / 2, (count, 3))
    points = np.stack(
        [
            position + 14 * smooth_noise(rng, shape, 90.0 / voxel)
            for position in np.meshgrid(
                *(np.arange(n, dtype=np.float32) * v for n, v in zip(shape, voxel, strict=True)),
                indexing="ij",
            )
        ],
        axis=-1,
    )
    distances, nearest = cKDTree(seeds).query(points.reshape(-1, 3), k=2)
    # half the difference is the distance from the face, but for the angle between the two seeds
    apart = np.linalg.norm(seeds[nearest[:, 0]] - seeds[nearest[:, 1]], axis=1)
    face = (distances[:, 1] ** 2 - distances[:, 0] ** 2) / (2 * apart)
    return face.reshape(shape).astype(np.float32), nearest[:, 0].reshape(shape)


def _window(
    centre: NDArray[Any], radius: float, voxel: NDArray[Any], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """The box around a ball, and the offset of its voxels from the centre in nm."""
    low = np.maximum(((centre - radius) / voxel).astype(int), 0)
    high = np.minimum(((centre + radius) / voxel).astype(int) + 2, shape)
    axes = [
        (np.arange(a, b, dtype=np.float32) * v - c).astype(np.float32)
        for a, b, v, c in zip(low, high, voxel, centre, strict=True)
    ]
    window = tuple(slice(a, max(a, b)) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    return window, np.stack(np.meshgrid(*axes, indexing="ij"))


def _add_mitochondrion(
    rng: np.random.Generator,
    voxel: NDArray[Any],
    extent: NDArray[Any],
    free: NDArray[np.bool_],
    grey: NDArray[np.float32],
    mito: NDArray[np.bool_],
    mito_mem: NDArray[np.bool_],
) -> None:
    radius = rng.uniform(*MITO_RADIUS)
    half_length = radius * rng.uniform(*MITO_LENGTH)
    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    across = np.cross(axis, rng.standard_normal(3))
    across /= np.linalg.norm(across)
    phase = rng.uniform(0, 2 * np.pi)
    window, offset = _window(rng.uniform(0, extent), half_length + radius, voxel, mito.shape)
    along = np.tensordot(axis.astype(np.float32), offset, 1)
    excess = np.maximum(np.abs(along) - half_length, 0)
    beside = np.maximum((offset**2).sum(0) - along**2, 0)
    depth = radius - np.sqrt(beside + excess**2)
    whole = depth > 0
    inside = whole & free[window] & ~mito[window]
    # most places are taken: a mitochondrion is whole but for what a wall presses in
    if not whole.any() or inside.sum() < 0.85 * whole.sum():
        return
    membrane = inside & ((depth < MITO_MEMBRANE) | ~ndimage.binary_erosion(free[window]))
    waves = 2 * np.pi * along / CRISTAE_PERIOD
    waves += 0.03 * np.tensordot(across.astype(np.float32), offset, 1) + phase
    cristae = inside & (np.sin(waves) > 0.45) & (depth > 1.6 * MITO_MEMBRANE)
    mito[window] |= inside
    mito_mem[window] |= membrane
    view = grey[window]
    view[inside] = MITO_GREY
    view[cristae] = CRISTAE_GREY
    view[membrane] = MITO_MEM_GREY


def _add_vesicle(
    rng: np.random.Generator,
    voxel: NDArray[Any],
    extent: NDArray[Any],
    free: NDArray[np.bool_],
    grey: NDArray[np.float32],
    ves: NDArray[np.bool_],
) -> None:
    radius = rng.uniform(*VESICLE_RADIUS)
    window, offset = _window(rng.uniform(0, extent), radius, voxel, ves.shape)
    distance = np.sqrt((offset**2).sum(0))
    inside = distance < radius
    if not (free[window] | ~inside).all() or not inside.any():
        return
    shell, lumen = VESICLE_GREY
    grey[window][inside] = lumen
    grey[window][inside & (distance > 0.55 * radius)] = shell
    ves[window] |= inside
    free[window] &= ~inside


def _grown(mask: NDArray[np.bool_], distance: float, voxel: NDArray[Any]) -> NDArray[np.bool_]:
    """`mask` and what is within `distance` nm of it along the axes."""
    size = [2 * max(1, round(float(distance / v))) + 1 for v in voxel]
    return np.asarray(ndimage.maximum_filter(mask, size))


def _mean_of_blocks(data: NDArray[np.float32], block: Sequence[int]) -> NDArray[np.float32]:
    z, y, x = (n // b for n, b in zip(data.shape, block, strict=True))
    return data.reshape(z, block[0], y, block[1], x, block[2]).mean((1, 3, 5), dtype=np.float32)

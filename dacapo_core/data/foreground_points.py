"""Where in a volume there is something to learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

# a volume of terabytes is not read whole before training
MOST_BLOCKS = 512
POINTS_PER_BLOCK = 8
READERS = 4
# label voxels and channels of a small crop, whose blocks cost more to ask for than to read
READ_AT_ONCE = 2**22


@dataclass(frozen=True)
class Foreground:
    """Label voxels of one volume that patches are drawn around.

    Attributes:
        labelled: points ``(n, 3)`` where anything is known, spread evenly over the volume.
        points: channel → points ``(n, 3)`` of its foreground, spread evenly over where it is.
        whole: the whole volume was looked at, not only a sample of it.
    """

    labelled: NDArray[np.int64]
    points: dict[str, NDArray[np.int64]]
    whole: bool


def find_foreground(
    dataset: RawGTDataset, channels: Sequence[str], block: Sequence[int]
) -> Foreground:
    """Look at the ground truth block by block; the same volume gives the same points.

    Raises:
        ArrayError: raw data or labels that cannot be used are met on the way.
    """
    begins = [
        range(begin, end, size)
        for begin, end, size in zip(dataset.begin, dataset.end, block, strict=True)
    ]
    count = math.prod(map(len, begins))
    whole = count <= MOST_BLOCKS
    chosen = (
        np.arange(count)
        if whole
        else np.sort(np.random.default_rng(0).choice(count, MOST_BLOCKS, replace=False))
    )
    places = np.stack(np.unravel_index(chosen, [len(each) for each in begins]), 1)
    corners = [
        tuple(each[int(index)] for each, index in zip(begins, place, strict=True))
        for place in places
    ]

    extent = [e - b for b, e in zip(dataset.begin, dataset.end, strict=True)]
    small = whole and len(channels) * math.prod(extent) <= READ_AT_ONCE
    if small:
        in_memory = dataset.read_labels(dataset.begin, dataset.end, channels)
        _check_raw(dataset, dataset.begin, dataset.end)

    def read(
        corner: Sequence[int], end: Sequence[int]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        if not small:
            _check_raw(dataset, corner, end)
            return dataset.read_labels(corner, end, channels)
        part = [slice(c - b, e - b) for c, e, b in zip(corner, end, dataset.begin, strict=True)]
        foreground, known = in_memory
        return foreground[(slice(None), *part)], known[(slice(None), *part)]

    def look(
        corner: tuple[int, ...],
    ) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        end = [min(c + size, e) for c, size, e in zip(corner, block, dataset.end, strict=True)]
        foreground, known = read(corner, end)
        rng = np.random.default_rng(corner)
        return (
            _some_points(np.any(known, axis=0), corner, rng),
            [_some_points(channel, corner, rng) for channel in foreground],
        )

    if small:
        found = [look(corner) for corner in corners]
    else:
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(look, corners))
    return Foreground(
        labelled=np.concatenate([labelled for labelled, _ in found]),
        points={
            channel: np.concatenate([points[index] for _, points in found])
            for index, channel in enumerate(channels)
        },
        whole=whole,
    )


def _check_raw(dataset: RawGTDataset, begin: Sequence[int], end: Sequence[int]) -> None:
    """Meet a NaN before training does."""
    if dataset.raw.dtype.kind == "f":
        scale = dataset.scale
        dataset.read_raw(
            [b // s for b, s in zip(begin, scale, strict=True)],
            [-(-e // s) for e, s in zip(end, scale, strict=True)],
        )


def _some_points(
    where: NDArray[np.bool_], corner: Sequence[int], rng: np.random.Generator
) -> NDArray[np.int64]:
    found = np.flatnonzero(where)
    if len(found) > POINTS_PER_BLOCK:
        found = rng.choice(found, POINTS_PER_BLOCK, replace=False)
    return np.stack(np.unravel_index(found, where.shape), 1).astype(np.int64) + np.array(corner)

"""Where in a volume there is something to learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dacapo_core.data.boxes import Box
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
    """Read the ground truth block by block; the same volume gives the same points.

    Args:
        block: z, y, x, in label voxels.

    Raises:
        ArrayError: raw data or labels hold values that cannot be used.
    """
    axes = [len(range(b, e, n)) for b, e, n in zip(dataset.begin, dataset.end, block, strict=True)]
    count = math.prod(axes)
    whole = count <= MOST_BLOCKS
    chosen = (
        np.arange(count)
        if whole
        else np.sort(np.random.default_rng(0).choice(count, MOST_BLOCKS, replace=False))
    )
    corners = np.transpose(np.unravel_index(chosen, axes)) * np.array(block) + dataset.begin
    boxes = [Box.of(corner, np.minimum(corner + block, dataset.end)) for corner in corners]

    def read(box: Box) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        _check_raw(dataset, box)
        return dataset.read_labels(*box, channels)

    small = whole and len(channels) * math.prod(dataset.box.shape) <= READ_AT_ONCE
    in_memory = read(dataset.box) if small else None

    def points_in(box: Box) -> list[NDArray[np.int64]]:
        """Where anything is known, then where each channel is."""
        if in_memory is None:
            foreground, known = read(box)
        else:
            place = (slice(None), *box.seen_from(dataset.begin).slices)
            foreground, known = (each[place] for each in in_memory)
        rng = np.random.default_rng(box.begin)
        return [_some_points(each, box.begin, rng) for each in (known.any(0), *foreground)]

    with ThreadPoolExecutor(READERS) as pool:
        found = map(points_in, boxes) if small else pool.map(points_in, boxes)
        labelled, *points = (np.concatenate(each) for each in zip(*found, strict=True))
    return Foreground(labelled, dict(zip(channels, points, strict=True)), whole)


def _check_raw(dataset: RawGTDataset, box: Box) -> None:
    """Refuse NaN before training begins."""
    if dataset.raw.dtype.kind == "f":
        dataset.read_raw(*dataset.raw_box_of(box))


def _some_points(
    where: NDArray[np.bool_], corner: Sequence[int], rng: np.random.Generator
) -> NDArray[np.int64]:
    found = np.flatnonzero(where)
    if len(found) > POINTS_PER_BLOCK:
        found = rng.choice(found, POINTS_PER_BLOCK, replace=False)
    return np.stack(np.unravel_index(found, where.shape), 1).astype(np.int64) + np.array(corner)

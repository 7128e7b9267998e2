"""The range of raw data's values, from a sample that is read within a time and a size."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_core.data.bytes_read import bytes_read
from dacapo_core.data.intensity_range import (
    Intensities,
    Range,
    range_of_sample,
    shared_or_own,
)
from dacapo_core.data.sample_blocks import SampleBlock, SampledVolume
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

MOST_BYTES = 10**9
MOST_SECONDS = 40.0

# read of all volumes together, those that are padding not counted
BLOCKS = 64
# read of each volume
FEWEST_BLOCKS = 4
# read of all volumes together before they are taken to be constant
MOST_BLOCKS = 2048

# kept of all blocks together
_VOXELS = 2**21
_READERS = 16
_LISTING_SECONDS = 5.0


def find_intensities(
    datasets: Sequence[RawGTDataset],
    *,
    most_bytes: int = MOST_BYTES,
    most_seconds: float = MOST_SECONDS,
) -> Intensities:
    """The range of each raw array for which none is given, from a sample of its blocks.

    The blocks are spread over the parts whose labels are used; the same data gives the same range
    unless time or bytes run out. At least one block of each volume is read.

    Raises:
        ArrayError: raw data cannot be read in time, or is constant; it is named.
    """
    asked = [dataset for dataset in datasets if dataset.given_range is None]
    wanted = max(FEWEST_BLOCKS, BLOCKS // max(1, len(asked)))
    most = max(wanted, MOST_BLOCKS // max(1, len(asked)))
    voxels = _VOXELS // (wanted * max(1, len(asked)))
    volumes = [
        SampledVolume(dataset, index, dataset.raw_box, wanted, most, max(1, voxels))
        for index, dataset in enumerate(asked)
    ]
    if volumes:
        _read_sample(volumes, most_bytes, time.monotonic() + most_seconds)
    by_array: dict[str, list[SampledVolume]] = {}
    for volume in volumes:
        by_array.setdefault(volume.raw.name, []).append(volume)
    return Intensities(shared_or_own({name: _range(each) for name, each in by_array.items()}))


def _range(volumes: Sequence[SampledVolume]) -> Range:
    """The range of the array that all of `volumes` are parts of."""
    blocks: list[NDArray[Any]] = []
    padding: list[float] = []
    for volume in volumes:
        done = volume.done
        if not done:
            raise ArrayError(
                f"volume {volume.dataset.name!r}: raw data {volume.raw.name} was not read in time "
                "to see its intensities; check that its server can be reached, or set "
                "intensity_range"
            )
        varied = [values for values, constant in done if not constant]
        same = [float(values[0]) for values, constant in done if constant]
        if not varied and len(set(same)) == 1:
            z, y, x = (f"{b}:{e}" for b, e in zip(*volume.box, strict=True))
            raise ArrayError(
                f"volume {volume.dataset.name!r}: raw data {volume.raw.name} is constant: it holds "
                f"nothing but {same[0]:g} where it was looked at, in {len(done)} "
                f"block{'s'[: len(done) > 1]} of voxels {z} {y} {x} (z y x). Check file_name, "
                "dataset, offset and roi; if it is meant to be so, set intensity_range"
            )
        blocks += varied
        padding += same
    found = range_of_sample(blocks, padding, volumes[0].raw.dtype)
    if found is None:
        raise ArrayError(
            f"raw data {volumes[0].raw.name} holds no finite values where it was looked at; repair "
            "it, or leave the volume out"
        )
    return found


def _read_sample(volumes: Sequence[SampledVolume], most_bytes: int, deadline: float) -> None:
    """Read blocks: a few of every volume, and more of those that show only padding."""
    meter = _Meter(most_bytes)
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="intensities")
    try:
        searching = list(volumes)
        while searching:
            asked = [
                volume.next_blocks(
                    min(max(volume.wanted, len(volume.blocks)), volume.most - len(volume.blocks))
                )
                for volume in searching
            ]
            # each volume's first before any volume's second
            turns = [
                (volume, blocks[turn])
                for turn in range(max(map(len, asked)))
                for volume, blocks in zip(searching, asked, strict=True)
                if turn < len(blocks)
            ]
            if not _read_blocks(turns, pool, meter, deadline):
                return
            searching = [
                volume
                for volume, blocks in zip(searching, asked, strict=True)
                if blocks
                and len(volume.blocks) < volume.most
                and sum(not constant for _, constant in volume.done) < volume.wanted / 4
            ]
        for volume in volumes:
            if all(constant for _, constant in volume.done):
                left = min(_LISTING_SECONDS, deadline - time.monotonic())
                written = [(volume, block) for block in volume.written(left)]
                _read_blocks(written, pool, meter, deadline)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read_blocks(
    turns: Sequence[tuple[SampledVolume, SampleBlock]],
    pool: ThreadPoolExecutor,
    meter: _Meter,
    deadline: float,
) -> bool:
    """Read blocks, in this order; False where time or bytes ran out before the last."""
    running: dict[Future[tuple[NDArray[Any], bool]], int] = {}

    def has_room(cost: int) -> bool:
        return len(running) < _READERS and meter.allows(cost + sum(running.values()))

    for volume, block in turns:
        while running and not has_room(block.cost):
            left = deadline - time.monotonic()
            done = wait(running, max(0.0, left), return_when="FIRST_COMPLETED").done
            if not done:
                return False
            for each in done:
                del running[each]
        if block is not volume.blocks[0] and not has_room(block.cost):
            return False
        block.future = pool.submit(_read_block, volume, block, meter)
        running[block.future] = block.cost
    return not wait(running, max(0.0, deadline - time.monotonic())).not_done


class _Meter:
    """Bytes that may be read, and those that were."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._before = bytes_read()
        self._uncounted = 0
        self._lock = threading.Lock()

    def allows(self, more: int) -> bool:
        return bytes_read() - self._before + self._uncounted + more <= self._most

    def add(self, uncounted: int) -> None:
        with self._lock:
            self._uncounted += uncounted


def _read_block(
    volume: SampledVolume, block: SampleBlock, meter: _Meter
) -> tuple[NDArray[Any], bool]:
    """Some voxels of a block, and whether all of its voxels are equal."""
    values = volume.raw.read(*block.box).ravel()
    if not volume.raw.chunks.counted:
        meter.add(block.cost)
    # as float32, which is what the network sees
    if (values.astype(np.float32) == np.float32(values[0])).all():
        return values[:1].copy(), True
    if values.size > volume.voxels:
        chance = np.random.default_rng([volume.index, *block.box[0]])
        values = values[chance.integers(values.size, size=volume.voxels)]
    return values, False

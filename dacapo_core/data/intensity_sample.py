"""Looking at as little of raw data as tells what its values are."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_core.data.boxes import Box, Voxels, as_voxels
from dacapo_core.data.bytes_read import bytes_read
from dacapo_core.data.intensity_range import (
    Intensities,
    Range,
    range_of_sample,
    shared_or_own,
)
from dacapo_core.experiments.datasplits.datasets.arrays.array import Array, ArrayError
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

MOST_BYTES = 10**9
MOST_SECONDS = 40.0

# of all volumes together, those that are padding not counted
BLOCKS = 64
# of one volume
FEWEST_BLOCKS = 4
# looked at before a volume is taken to be constant
MOST_LOOKS = 2048

_BLOCK_VOXELS = 2**18
# of all blocks together
_VOXELS = 2**21
_READERS = 16
_LISTING_SECONDS = 5.0
# steps along the axes that fill a box evenly, wherever they end (the plastic number's powers)
_STEPS = np.array([0.8191725133961645, 0.6710436067037893, 0.5497004779019703])


@dataclass
class _Look:
    """A block that is looked at: some of its voxels, and whether they are all the same."""

    box: Box
    cost: int
    future: Future[tuple[NDArray[Any], bool]] | None = None


@dataclass
class _Volume:
    """The part of a volume whose labels are used.

    Attributes:
        wanted, most: blocks to look at, and where those show only padding.
        voxels: of a block that are kept.
    """

    dataset: RawGTDataset
    index: int
    box: Box
    wanted: int
    most: int
    voxels: int
    looks: list[_Look] = field(default_factory=list)
    seen: set[Voxels] = field(default_factory=set)
    places: Iterator[Box] | None = None

    @property
    def raw(self) -> Array:
        return self.dataset.raw

    @property
    def done(self) -> list[tuple[NDArray[Any], bool]]:
        """What was seen, in the order in which it was asked for.

        Raises:
            ArrayError: a block cannot be read.
        """
        futures = [look.future for look in self.looks if look.future is not None]
        return [each.result() for each in futures if each.done() and not each.cancelled()]

    def next_looks(self, count: int) -> list[_Look]:
        """Up to `count` more blocks, each in one chunk, spread like those before."""
        if self.places is None:
            self.places = _places(self)
        chunks = self.raw.chunks
        found = []
        for _, box in zip(range(count), self.places, strict=False):
            chunk = chunks.index(box[0])
            found.append(_Look(box, 0 if chunk in self.seen else chunks.nbytes))
            self.seen.add(chunk)
        self.looks += found
        return found

    def written(self, seconds: float) -> list[_Look]:
        """Blocks of chunks that are there, where so few are that none was met by chance."""
        inside = [
            voxel for voxel in self.raw.stored_voxels(max(0.0, seconds)) if self.box.contains(voxel)
        ]
        order = np.random.default_rng(self.index).permutation(len(inside))[: self.wanted]
        known = {look.box for look in self.looks}
        boxes = [_block_around(sorted(inside)[place], self) for place in order]
        found = [_Look(box, self.raw.chunks.nbytes) for box in boxes if box not in known]
        self.looks += found
        return found


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
    most = max(wanted, MOST_LOOKS // max(1, len(asked)))
    voxels = _VOXELS // (wanted * max(1, len(asked)))
    volumes = [
        _Volume(dataset, index, dataset.raw_box, wanted, most, max(1, voxels))
        for index, dataset in enumerate(asked)
    ]
    if volumes:
        _look(volumes, most_bytes, time.monotonic() + most_seconds)
    by_array: dict[str, list[_Volume]] = {}
    for volume in volumes:
        by_array.setdefault(volume.raw.name, []).append(volume)
    return Intensities(shared_or_own({name: _range(each) for name, each in by_array.items()}))


def _range(volumes: Sequence[_Volume]) -> Range:
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


def _look(volumes: Sequence[_Volume], most_bytes: int, deadline: float) -> None:
    """Read blocks: a few of every volume, and more of those that show only padding."""
    meter = _Meter(most_bytes)
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="intensities")
    try:
        searching = list(volumes)
        while searching:
            asked = [
                volume.next_looks(
                    min(max(volume.wanted, len(volume.looks)), volume.most - len(volume.looks))
                )
                for volume in searching
            ]
            # each volume's first before any volume's second
            turns = [
                (volume, looks[turn])
                for turn in range(max(map(len, asked)))
                for volume, looks in zip(searching, asked, strict=True)
                if turn < len(looks)
            ]
            if not _read(turns, pool, meter, deadline):
                return
            searching = [
                volume
                for volume, looks in zip(searching, asked, strict=True)
                if looks
                and len(volume.looks) < volume.most
                and sum(not constant for _, constant in volume.done) < volume.wanted / 4
            ]
        for volume in volumes:
            if all(constant for _, constant in volume.done):
                left = min(_LISTING_SECONDS, deadline - time.monotonic())
                _read([(volume, look) for look in volume.written(left)], pool, meter, deadline)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(
    turns: Sequence[tuple[_Volume, _Look]],
    pool: ThreadPoolExecutor,
    meter: _Meter,
    deadline: float,
) -> bool:
    """Read blocks; False where time or bytes ran out before the last."""
    running: dict[Future[tuple[NDArray[Any], bool]], int] = {}

    def has_room(cost: int) -> bool:
        return len(running) < _READERS and meter.allows(cost + sum(running.values()))

    for volume, look in turns:
        while running and not has_room(look.cost):
            left = deadline - time.monotonic()
            done = wait(running, max(0.0, left), return_when="FIRST_COMPLETED").done
            if not done:
                return False
            for each in done:
                del running[each]
        if look is not volume.looks[0] and not has_room(look.cost):
            return False
        look.future = pool.submit(_seen, volume, look, meter)
        running[look.future] = look.cost
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


def _seen(volume: _Volume, look: _Look, meter: _Meter) -> tuple[NDArray[Any], bool]:
    """Some voxels of a block, and whether all of them are the same."""
    values = volume.raw.read(*look.box).ravel()
    if not volume.raw.chunks.counted:
        meter.add(look.cost)
    # what the network, which is given float32, could tell none from another
    if (values.astype(np.float32) == np.float32(values[0])).all():
        return values[:1].copy(), True
    if values.size > volume.voxels:
        chance = np.random.default_rng([volume.index, *look.box[0]])
        values = values[chance.integers(values.size, size=volume.voxels)]
    return values, False


def _places(volume: _Volume) -> Iterator[Box]:
    """Blocks of the volume's box, each within a chunk, none twice."""
    begin, extent = volume.box.begin, volume.box.shape
    at = np.random.default_rng(volume.index).random(3)
    known: set[Box] = set()
    misses = 0
    while misses < 4 * volume.wanted:
        at = (at + _STEPS) % 1
        point = [b + int(share * n) for b, share, n in zip(begin, at, extent, strict=True)]
        box = _block_around(point, volume)
        if box in known:
            misses += 1
            continue
        misses = 0
        known.add(box)
        yield box


def _block_around(point: Sequence[int], volume: _Volume) -> Box:
    """The chunk around a point, as far as it is in the volume; a part of it if it is large."""
    chunk = volume.raw.chunks.box(as_voxels(point)).intersection(volume.box)
    assert chunk is not None
    size = list(chunk.shape)
    while math.prod(size) > _BLOCK_VOXELS:
        longest = size.index(max(size))
        size[longest] = -(-size[longest] // 2)
    # parts of a chunk begin at whole parts, so that near points are not looked at twice
    begin = [a + (p - a) // n * n for a, p, n in zip(chunk.begin, point, size, strict=True)]
    end = [min(b + n, e) for b, n, e in zip(begin, size, chunk.end, strict=True)]
    return Box.of(begin, end)

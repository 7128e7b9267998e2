"""Where volumes to train on are kept: on the device, in host memory, or where they are stored."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from enum import StrEnum
from math import prod

import torch
from torch import Tensor

from dacapo_core.data.boxes import Box, Voxels, as_voxels
from dacapo_core.data.memory_limits import free_bytes
from dacapo_core.data.patch_crops import crop_boxes
from dacapo_core.data.patch_sampler import PatchSampler
from dacapo_core.data.preloaded_array import PreloadedArray
from dacapo_core.experiments.datasplits.datasets.arrays.array import Array, NumpyArray
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

logger = logging.getLogger(__name__)

# of what is free when training begins; networks and batches need the rest
DEVICE_SHARE = 0.4
HOST_SHARE = 0.5
HOST = torch.device("cpu")
_SLAB_VOXELS = 2**24


class Place(StrEnum):
    """Where a volume is kept."""

    DEVICE = "device"
    HOST = "host"
    STREAMED = "streamed"


def choose_places(
    sizes: Sequence[int], reads: Sequence[float], device_room: int, host_room: int
) -> list[Place]:
    """A place for each volume of `sizes` bytes; the smallest go to the fastest.

    Args:
        reads: how often training reads each voxel; below once, keeping it would only cost.
        device_room, host_room: bytes that all of them may take there.
    """
    places = [Place.STREAMED] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda each: sizes[each]):
        if reads[index] < 1:
            continue
        if sizes[index] <= device_room:
            places[index] = Place.DEVICE
            device_room -= sizes[index]
        elif sizes[index] <= host_room:
            places[index] = Place.HOST
            host_room -= sizes[index]
    return places


class Placement:
    """Keeps a sampler's volumes where they fit, as far as patches can reach into them.

    Args:
        sampler: of volumes whose arrays are `PreloadedArray`.
        device: that trains; a CPU's memory is the host's.
        patches: that will be drawn.
        processes: that train on this machine and share its memory.
    """

    def __init__(
        self, sampler: PatchSampler, device: torch.device, patches: int, processes: int = 1
    ) -> None:
        self._device = device
        self._datasets = sampler.datasets
        self._volumes = [
            (dataset.name, _kept(sampler, index)) for index, dataset in enumerate(sampler.datasets)
        ]
        self._sizes = [
            sum(array.bytes_of(*box) for array, box in arrays) for _, arrays in self._volumes
        ]
        self._reads = [
            patches * share * prod(sampler.grid.input_shape) / prod(arrays[0][0].shape)
            for share, (_, arrays) in zip(sampler.shares, self._volumes, strict=True)
        ]
        self._processes = processes
        self.places = [Place.STREAMED] * len(self._volumes)

    def keep(self) -> None:
        """Read what fits, and say where each volume is in one line of the log.

        A device that has too little memory after all leaves the volume to the host.

        Raises:
            ArrayError: a volume cannot be read, or one that is kept holds values that cannot be
                used.
        """
        on_device = 0
        if self._device.type == "cuda":
            on_device = int(torch.cuda.mem_get_info(self._device)[0] * DEVICE_SHARE)
        on_host = int(free_bytes() * HOST_SHARE) // self._processes
        wanted = choose_places(self._sizes, self._reads, on_device, on_host)
        for index, place in enumerate(wanted):
            self.places[index] = self._keep(index, place)
            self._say(index)
            if self.places[index] is not Place.STREAMED:
                _check_values(self._datasets[index])

    def leave_device(self) -> bool:
        """Make room on the device: volumes go to host memory. False if none is there."""
        there = [index for index, place in enumerate(self.places) if place is Place.DEVICE]
        for index in there:
            for array, _ in self._volumes[index][1]:
                array.move_to(HOST)
            self.places[index] = Place.HOST
            self._say(index, f"; {self._device} ran out of memory")
        if there and self._device.type == "cuda":
            torch.cuda.empty_cache()
        return bool(there)

    def _keep(self, index: int, place: Place) -> Place:
        arrays = self._volumes[index][1]
        if place is Place.STREAMED:
            return place
        device = self._device if place is Place.DEVICE else HOST
        try:
            for array, box in arrays:
                # what was made in host memory is there already
                if device != HOST or not isinstance(array.array, NumpyArray):
                    array.keep(*box, device)
        except (torch.OutOfMemoryError, MemoryError) as error:
            for array, _ in arrays:
                array.release()
            name = self._volumes[index][0]
            logger.warning("volume %r: %s has too little memory for it (%s)", name, device, error)
            return self._keep(index, Place.HOST if place is Place.DEVICE else Place.STREAMED)
        return place

    def _say(self, index: int, why: str = "") -> None:
        where = {
            Place.DEVICE: f"on {self._device}",
            Place.HOST: "in host memory",
            Place.STREAMED: "streamed from where it is stored",
        }[self.places[index]]
        logger.info(
            "volume %r: %.1f MB of raw data and labels, %s%s",
            self._volumes[index][0],
            self._sizes[index] / 1e6,
            where,
            why,
        )


def _check_values(dataset: RawGTDataset) -> None:
    """Refuse a kept volume with values that cannot be used, slab by slab where it is kept."""
    raw, labels = dataset.raw, dataset.labels
    if raw.dtype.kind == "f":
        for begin, end, (values,) in _slabs([raw]):
            if not values.isfinite().all():
                dataset.read_raw(begin, end)
    for begin, end, parts in _slabs(labels.arrays):
        fault = labels.faults(parts)
        if fault is None:
            break
        if fault:
            labels.check([array.read(begin, end) for array in labels.arrays], begin)


def _slabs(arrays: Sequence[Array]) -> Iterator[tuple[Voxels, Voxels, list[Tensor]]]:
    """What is kept of arrays of one grid, a few sections at a time, and where that is."""
    kept = [
        (array.kept, array.box)
        for array in arrays
        if isinstance(array, PreloadedArray) and array.kept is not None
    ]
    if len(kept) < len(arrays):
        return
    (first, *begin), (last, *end) = kept[0][1]
    step = max(1, _SLAB_VOXELS // prod(kept[0][1].shape[1:]))
    for start in range(first, last, step):
        stop = min(start + step, last)
        parts = [each[..., start - first : stop - first, :, :] for each, _ in kept]
        yield as_voxels((start, *begin)), as_voxels((stop, *end)), parts


def _kept(sampler: PatchSampler, volume: int) -> list[tuple[PreloadedArray, Box]]:
    """The arrays of a volume, and the box of each that patches are made from."""
    dataset = sampler.datasets[volume]
    found = []
    for array, box in crop_boxes(dataset, *sampler.reach(volume)):
        assert isinstance(array, PreloadedArray)
        found.append((array, box))
    return found

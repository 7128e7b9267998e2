"""What a patch is made from: boxes of arrays in their stored types, and where they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from dacapo_core.data.boxes import Box, Voxels, as_voxels
from dacapo_core.data.dtype_conversion import stored_tensor
from dacapo_core.data.patch_sampler import Patch, PatchSampler
from dacapo_core.data.preloaded_array import PreloadedArray
from dacapo_core.experiments.datasplits.datasets.arrays.array import Array
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset


class Crop(NamedTuple):
    """A box of an array.

    Attributes:
        values: ``([channels,] z, y, x)``, see ``stored_tensor``.
        first: where it begins, in raw or label voxels from where the raw data begins.
    """

    values: Tensor
    first: Voxels

    @property
    def box(self) -> Box:
        """The voxels that it holds."""
        return Box((0, 0, 0), as_voxels(self.values.shape[-3:])).shifted(self.first)

    def pinned(self) -> Crop:
        """Values in host memory copied to pinned memory, from which CUDA uploads in passing."""
        if self.values.device.type != "cpu":
            return self
        pinned = torch.empty(self.values.shape, dtype=self.values.dtype, pin_memory=True)
        return self._replace(values=pinned.copy_(self.values))


@dataclass(frozen=True)
class PatchCrops:
    """All that a patch is made from.

    Attributes:
        labels: a crop of each of the volume's label arrays; none where the patch reaches no part
            of the volume that is labelled.
        mask: of its mask; None without one.
    """

    patch: Patch
    raw: Crop
    labels: Sequence[Crop] = ()
    mask: Crop | None = None

    def pinned(self) -> PatchCrops:
        """The same, see `Crop.pinned`."""
        labels = [crop.pinned() for crop in self.labels]
        mask = None if self.mask is None else self.mask.pinned()
        return PatchCrops(self.patch, self.raw.pinned(), labels, mask)


def read_crops(sampler: PatchSampler, patch: Patch) -> PatchCrops:
    """Read what `patch` is made from.

    Raises:
        ArrayError: it cannot be read.
    """
    dataset = sampler.datasets[patch.volume]
    boxes = crop_boxes(dataset, sampler.raw_box(patch), sampler.label_box(patch))
    reading = [_start_crop(array, box) for array, box in boxes]
    raw, *labels = (values() for values in reading)
    crops = PatchCrops(patch, Crop(raw, boxes[0][1].begin))
    if not labels:
        return crops
    first = boxes[1][1].shifted(dataset.label_origin).begin
    found = [Crop(values, first) for values in labels]
    mask = None if dataset.mask is None else found.pop()
    return replace(crops, labels=found, mask=mask)


def crop_boxes(dataset: RawGTDataset, raw_box: Box, label_box: Box) -> list[tuple[Array, Box]]:
    """The box of each of a volume's arrays that holds what is made from these boxes.

    Args:
        raw_box, label_box: in raw and label voxels; they may reach beyond the volume.
    """
    found: list[tuple[Array, Box]] = [(dataset.raw, _reflected(raw_box, dataset.raw.shape))]
    used = label_box.intersection(dataset.box)
    if used is None:
        return found
    found += [(array, used.seen_from(dataset.label_origin)) for array in dataset.labels.arrays]
    if dataset.mask is not None:
        found.append((dataset.mask, used.seen_from(dataset.mask_origin)))
    return found


def _start_crop(array: Array, box: Box) -> Callable[[], Tensor]:
    if isinstance(array, PreloadedArray):
        return array.start_crop(*box)
    reading = array.start_read(*box)
    return lambda: stored_tensor(reading())


def _reflected(box: Box, shape: Sequence[int]) -> Box:
    """The voxels inside that a box needs whose outside is the volume's mirror image."""
    begin, end = [], []
    for first, last, size in zip(*box, shape, strict=True):
        low, high = max(first, 0), min(last, size)
        if first < 0:
            high = max(high, min(size, -first))
        if last > size:
            low = min(low, max(0, 2 * size - last))
        begin.append(low)
        end.append(high)
    return Box.of(begin, end)

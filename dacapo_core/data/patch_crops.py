"""What a patch is made from: boxes of arrays in their stored types, and where they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from dacapo_core.data.dtype_conversion import stored_tensor
from dacapo_core.data.elastic_deformation import Box
from dacapo_core.data.patch_sampler import Patch, PatchSampler
from dacapo_core.data.preloaded_array import PreloadedArray
from dacapo_core.experiments.datasplits.datasets.arrays.array import Array, Voxels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset, as_voxels


class Crop(NamedTuple):
    """A box of an array.

    Attributes:
        values: ``([channels,] z, y, x)``, see ``stored_tensor``.
        first: where it begins, in raw or label voxels from where the raw data begins.
    """

    values: Tensor
    first: Voxels


@dataclass(frozen=True)
class LabelCrops:
    """The ground truth that a patch is made from; None where it holds nothing of the volume.

    Attributes:
        labels: a crop of each of the volume's label arrays.
        mask: of its mask; None without one.
    """

    labels: list[Crop]
    mask: Crop | None


@dataclass(frozen=True)
class PatchCrops:
    """All that a patch is made from."""

    patch: Patch
    raw: Crop
    labels: LabelCrops | None

    def pinned(self) -> PatchCrops:
        """Crops in host memory brought to pinned memory, from which a device reads in passing."""
        labels = self.labels
        if labels is not None:
            labels = LabelCrops(
                [_pinned(crop) for crop in labels.labels],
                None if labels.mask is None else _pinned(labels.mask),
            )
        return replace(self, raw=_pinned(self.raw), labels=labels)


def read_crops(sampler: PatchSampler, patch: Patch) -> PatchCrops:
    """Read what `patch` is made from.

    Raises:
        ArrayError: it cannot be read.
    """
    dataset = sampler.datasets[patch.volume]
    raw_box = _reflected(sampler.raw_box(patch), dataset.raw.shape)
    raw = _start_crop(dataset.raw, raw_box)
    labels = _start_label_crops(dataset, sampler.label_box(patch))
    return PatchCrops(patch, Crop(raw(), raw_box[0]), labels())


def crop_boxes(dataset: RawGTDataset, raw_box: Box, label_box: Box) -> list[tuple[Array, Box]]:
    """The box of each of a volume's arrays that holds what is made from these boxes.

    Args:
        raw_box, label_box: in raw and label voxels; they may reach beyond the volume.
    """
    found: list[tuple[Array, Box]] = [(dataset.raw, _reflected(raw_box, dataset.raw.shape))]
    used = _intersection(label_box, (as_voxels(dataset.begin), as_voxels(dataset.end)))
    if used is None:
        return found
    found += [(array, _shifted(used, dataset.label_origin)) for array in dataset.labels.arrays]
    if dataset.mask is not None:
        found.append((dataset.mask, _shifted(used, dataset.mask_origin)))
    return found


def _start_label_crops(dataset: RawGTDataset, box: Box) -> Callable[[], LabelCrops | None]:
    """Begin to read the ground truth of a box of label voxels, as far as the volume has any."""
    used = _intersection(box, (as_voxels(dataset.begin), as_voxels(dataset.end)))
    if used is None:
        return lambda: None
    begin = used[0]
    inside = _shifted(used, dataset.label_origin)
    labels = [_start_crop(array, inside) for array in dataset.labels.arrays]
    mask = None
    if dataset.mask is not None:
        mask = _start_crop(dataset.mask, _shifted(used, dataset.mask_origin))
    return lambda: LabelCrops(
        [Crop(crop(), begin) for crop in labels], None if mask is None else Crop(mask(), begin)
    )


def _start_crop(array: Array, box: Box) -> Callable[[], Tensor]:
    if isinstance(array, PreloadedArray):
        return array.start_crop(*box)
    reading = array.start_read(*box)
    return lambda: stored_tensor(reading.result())


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
    return as_voxels(begin), as_voxels(end)


def _intersection(one: Box, other: Box) -> Box | None:
    begin = as_voxels([max(a, b) for a, b in zip(one[0], other[0], strict=True)])
    end = as_voxels([min(a, b) for a, b in zip(one[1], other[1], strict=True)])
    return None if any(a >= b for a, b in zip(begin, end, strict=True)) else (begin, end)


def _shifted(box: Box, origin: Voxels) -> Box:
    begin, end = (as_voxels([c - o for c, o in zip(corner, origin, strict=True)]) for corner in box)
    return begin, end


def _pinned(crop: Crop) -> Crop:
    if crop.values.device.type != "cpu":
        return crop
    pinned = torch.empty(crop.values.shape, dtype=crop.values.dtype, pin_memory=True)
    return crop._replace(values=pinned.copy_(crop.values))

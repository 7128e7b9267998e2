"""From crops in their stored types to the tensors that a network is trained on, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dacapo_core.data.boxes import Box, Voxels, mirrored
from dacapo_core.data.dtype_conversion import as_float32
from dacapo_core.data.elastic_deformation import deform, interpolated, nearest
from dacapo_core.data.host_to_device import to_device, upload_together
from dacapo_core.data.intensity_range import AS_IT_IS
from dacapo_core.data.patch_crops import Crop, PatchCrops
from dacapo_core.data.patch_sampler import PatchSampler
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset


class Labelled(NamedTuple):
    """Ground truth of patches.

    Attributes:
        labels: ``(n, channels, *output_shape)`` bool.
        mask: as `labels`, False where nothing is known of a channel.
        fault: whether any patch holds label values that mean nothing, a bool; None if none can.
    """

    labels: Tensor
    mask: Tensor
    fault: Tensor | None


class PatchTransform:
    """Turns crops into raw data and labels: scales, deforms, mirrors, transposes, varies.

    The same crops give the same patches, wherever they were kept. Work is only queued on the
    device; the host does not wait for it.

    Args:
        sampler: drew the patches.
        device: where the tensors are made.
    """

    def __init__(self, sampler: PatchSampler, device: torch.device) -> None:
        self._sampler = sampler
        self._device = device

    def raw(self, crops: Sequence[PatchCrops]) -> tuple[Tensor, Tensor | None]:
        """The network's input ``(n, 1, *input_shape)``, float32, in -1…1 before its variation.

        Beyond the volume it is mirrored. The second value says whether any value is not finite, a
        bool on the device; None if none can be.
        """
        shape = self._sampler.grid.input_shape
        made = torch.empty((len(crops), 1, *shape), device=self._device)
        faults = []
        arrays: list[NDArray[np.float32]] = []
        for crop in crops:
            inner = self._sampler.grid.input_box(crop.patch.begin)
            size = self._sampler.datasets[crop.patch.volume].raw.voxel_size
            if crop.patch.field is not None:
                arrays += crop.patch.field.tensors(inner, size)
            if crop.patch.intensity is not None:
                arrays.append(crop.patch.intensity.sections)
        parameters = iter(upload_together(arrays, self._device))
        for place, crop in zip(made, crops, strict=True):
            patch = crop.patch
            dataset = self._sampler.datasets[patch.volume]
            box = self._sampler.raw_box(patch)
            values = _scaled(self._here(crop.raw.values), dataset)
            if dataset.raw.dtype.kind == "f":
                faults.append(~values.isfinite().all())
            values = _mirrored(values, crop.raw.first, box, dataset.raw.shape)
            if patch.field is not None:
                field = [next(parameters) for _ in range(4)]
                margin = patch.field.margin(dataset.raw.voxel_size)
                deformed = torch.empty(shape, device=self._device)
                deform(field, [(interpolated(values), deformed)], margin)
                values = deformed
            if patch.turn is not None:
                values = patch.turn(values)
            place[0] = values
            if patch.intensity is not None:
                patch.intensity.apply(place[0], next(parameters))
        return self._of_dims(made), _any(faults)

    def labelled(self, crops: Sequence[PatchCrops]) -> Labelled:
        """The ground truth of the network's output."""
        channels = self._sampler.channels
        shape = (len(crops), len(channels), *self._sampler.grid.output_shape)
        labels = torch.zeros(shape, dtype=torch.bool, device=self._device)
        mask = torch.zeros(shape, dtype=torch.bool, device=self._device)
        faults = []
        arrays: list[NDArray[np.float32]] = []
        for crop in crops:
            inner = self._sampler.grid.output_box(crop.patch.begin)
            size = self._sampler.datasets[crop.patch.volume].label_voxel_size
            if crop.patch.field is not None:
                arrays += crop.patch.field.tensors(inner, size)
        parameters = iter(upload_together(arrays, self._device))
        for index, crop in enumerate(crops):
            patch = crop.patch
            field = None if patch.field is None else [next(parameters) for _ in range(4)]
            if not crop.labels:
                continue
            dataset = self._sampler.datasets[patch.volume]
            found, known, fault = self._channels(crop, field)
            if fault is not None:
                faults.append(fault)
            if patch.turn is not None:
                found, known = patch.turn(found), patch.turn(known[None])[0]
            for place, channel in enumerate(channels):
                if channel in dataset.channels:
                    labels[index, place] = found[dataset.channels.index(channel)]
                    mask[index, place] = known
        return Labelled(self._of_dims(labels), self._of_dims(mask), _any(faults))

    def _channels(
        self, crop: PatchCrops, field: Sequence[Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Foreground ``(channels, z, y, x)``, where anything is known, and whether values err."""
        patch = crop.patch
        dataset = self._sampler.datasets[patch.volume]
        box = self._sampler.label_box(patch)
        shape = self._sampler.grid.output_shape
        layers = [*crop.labels, *([] if crop.mask is None else [crop.mask])]
        layers = [each._replace(values=self._here(each.values)) for each in layers]
        whole = layers[0].box.holds(box)
        if not whole:
            # ones where the volume is labelled, moved as the labels are
            values = layers[0].values
            ones = values.new_ones(values.shape[-3:], dtype=torch.bool)
            layers.append(Crop(ones, layers[0].first))
        if field is None or patch.field is None:
            taken = [_placed(each, box) for each in layers]
        else:
            taken = [each.values.new_empty((*each.values.shape[:-3], *shape)) for each in layers]
            takes = [
                nearest(each.values, each.box.seen_from(box.begin).begin, each.box.holds(box))
                for each in layers
            ]
            margin = patch.field.margin(dataset.label_voxel_size)
            deform(field, list(zip(takes, taken, strict=True)), margin)
        count = len(crop.labels)
        found, known = dataset.labels.to_channels(taken[:count])
        fault = dataset.labels.faults([each.values for each in layers[:count]])
        if crop.mask is not None:
            masked = taken[count]
            known = known & ((masked[0] if masked.ndim == 4 else masked) != 0)
        if not whole:
            known = known & taken[-1]
        return found & known, known, fault

    def _here(self, values: Tensor) -> Tensor:
        return to_device(values, self._device)

    def _of_dims(self, made: Tensor) -> Tensor:
        return made[:, :, 0] if self._sampler.dims == 2 else made


def _scaled(values: Tensor, dataset: RawGTDataset) -> Tensor:
    scaled = as_float32(values, dataset.raw.dtype)
    if scaled.ndim == 4:
        scaled = scaled[0]
    if dataset.intensity_range != AS_IT_IS:
        low, high = dataset.intensity_range
        scaled.sub_(low).mul_(2 / (high - low)).sub_(1)
    return scaled


def _mirrored(values: Tensor, first: Voxels, box: Box, shape: Sequence[int]) -> Tensor:
    """A box of a volume of `shape`, of which `values` holds what is inside; mirrored outside."""
    for axis, (begin, end, size) in enumerate(zip(*box, shape, strict=True)):
        if begin == first[axis] and end - begin == values.shape[axis]:
            continue
        place = mirrored(begin, end, size) - first[axis]
        values = values.index_select(axis, to_device(torch.from_numpy(place), values.device))
    return values


def _placed(crop: Crop, box: Box) -> Tensor:
    """The values of a box, zero where the crop holds none."""
    if crop.box.holds(box):
        return crop.values[(..., *box.seen_from(crop.first).slices)]
    placed = crop.values.new_zeros((*crop.values.shape[:-3], *box.shape))
    placed[(..., *crop.box.seen_from(box.begin).slices)] = crop.values
    return placed


def _any(faults: Sequence[Tensor]) -> Tensor | None:
    return torch.stack(list(faults)).any() if faults else None

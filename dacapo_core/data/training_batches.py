"""The batches that a run trains on, made of patches for its network and its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dacapo_core.data.batch_source import Batch
from dacapo_core.data.host_to_device import to_device
from dacapo_core.data.patch_crops import PatchCrops, read_crops
from dacapo_core.data.patch_sampler import PatchSampler
from dacapo_core.data.patch_transform import PatchTransform
from dacapo_core.experiments.tasks.task import Task

HOST = torch.device("cpu")


@dataclass(frozen=True)
class ReadPatch:
    """A patch as it leaves the threads that read.

    Attributes:
        crops: what it is made from.
        made: target and weight, of a task that makes them on the host.
        fault: whether `made` comes from label values that mean nothing, a bool.
    """

    crops: PatchCrops
    made: tuple[Tensor, Tensor] | None = None
    fault: Tensor | None = None

    def pinned(self) -> ReadPatch:
        """The same in pinned memory, from which CUDA copies while the host goes on."""
        made = self.made and (self.made[0].pin_memory(), self.made[1].pin_memory())
        return ReadPatch(self.crops.pinned(), made, self.fault)


class TrainingBatches:
    """Makes parts of batches of a sampler's patches for a task.

    Raw data is always made on the device. So are target and weight, unless the task measures
    distances: no distance transform on a device is as exact as scipy's, so those are made by the
    threads that read.

    Args:
        device: of the network.
    """

    def __init__(self, sampler: PatchSampler, task: Task, device: torch.device) -> None:
        self._sampler = sampler
        self._task = task
        self._device = device

    @cached_property
    def _transform(self) -> PatchTransform:
        return PatchTransform(self._sampler, self._device)

    def read(self, generator: np.random.Generator) -> ReadPatch:
        """Draw a patch and read what it is made from.

        Raises:
            ArrayError: an array cannot be read.
        """
        crops = read_crops(self._sampler, self._sampler.draw(generator))
        if not self._task.measures_distances:
            return ReadPatch(crops)
        labels, mask, fault = PatchTransform(self._sampler, HOST).labelled([crops])
        target, weight = self._task.create_target(
            labels[0].numpy(), mask[0].numpy(), self._sampler.voxel_size
        )
        return ReadPatch(
            PatchCrops(crops.patch, crops.raw),
            (torch.from_numpy(target), torch.from_numpy(weight)),
            fault,
        )

    def make(self, patches: Sequence[ReadPatch]) -> Batch:
        """Part of a batch, on the device."""
        crops = [patch.crops for patch in patches]
        raw, raw_fault = self._transform.raw(crops)
        made = [patch.made for patch in patches if patch.made is not None]
        if made:
            target, weight = (
                torch.stack([to_device(each, self._device) for each in part])
                for part in zip(*made, strict=True)
            )
            faults = [patch.fault for patch in patches]
        else:
            labels, mask, fault = self._transform.labelled(crops)
            target, weight = self._task.device_target(labels, mask)
            faults = [fault]
        found = [to_device(each, self._device) for each in [*faults, raw_fault] if each is not None]
        return Batch(raw, target, weight, torch.stack(found).any() if found else None)

    def explain(self, generator: np.random.Generator) -> None:
        """Raise what is wrong with the patch that a generator draws, if anything is.

        Raises:
            ArrayError: it holds values that cannot be used; names array, place and value.
        """
        patch = self._sampler.draw(generator)
        dataset = self._sampler.datasets[patch.volume]
        dataset.read_raw(*self._sampler.raw_box(patch))
        dataset.read_labels(*self._sampler.label_box(patch), self._sampler.channels)

"""What a run trains on: patches as its network and its task want them."""

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
        target, weight: made already, where the task makes them on the host.
        fault: whether they were made from label values that mean nothing.
    """

    crops: PatchCrops
    target: Tensor | None = None
    weight: Tensor | None = None
    fault: Tensor | None = None

    def pinned(self) -> ReadPatch:
        """The same in pinned memory, from which a device reads without the host waiting."""
        if self.target is None or self.weight is None:
            return ReadPatch(self.crops.pinned())
        return ReadPatch(
            self.crops.pinned(), self.target.pin_memory(), self.weight.pin_memory(), self.fault
        )


class TrainingBatches:
    """Makes parts of batches of a sampler's patches for a task.

    Raw data is always made on the device. So is what is to be learnt, unless the task measures
    distances: no transform on a device is as exact as scipy's, so those are made while reading.

    Args:
        device: of the network.
    """

    def __init__(self, sampler: PatchSampler, task: Task, device: torch.device) -> None:
        self._sampler = sampler
        self._task = task
        self._device = device

    @cached_property
    def _maker(self) -> PatchTransform:
        return PatchTransform(self._sampler, self._device)

    def read(self, generator: np.random.Generator) -> ReadPatch:
        """The patch of a generator, read.

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
            torch.from_numpy(target),
            torch.from_numpy(weight),
            fault,
        )

    def make(self, patches: Sequence[ReadPatch]) -> Batch:
        """Part of a batch, on the device."""
        crops = [patch.crops for patch in patches]
        raw, raw_fault = self._maker.raw(crops)
        targets = [patch.target for patch in patches if patch.target is not None]
        weights = [patch.weight for patch in patches if patch.weight is not None]
        if targets:
            target, weight = (
                torch.stack([to_device(each, self._device) for each in made])
                for made in (targets, weights)
            )
            faults = [patch.fault for patch in patches if patch.fault is not None]
        else:
            labels, mask, fault = self._maker.labelled(crops)
            target, weight = self._task.device_target(labels, mask)
            faults = [] if fault is None else [fault]
        faults = [to_device(each, self._device) for each in faults]
        if raw_fault is not None:
            faults.append(raw_fault)
        return Batch(raw, target, weight, torch.stack(faults).any() if faults else None)

    def explain(self, generator: np.random.Generator) -> None:
        """Say what is wrong with the patch of a generator.

        Raises:
            ArrayError: it holds values that cannot be used; names array, place and value.
        """
        patch = self._sampler.draw(generator)
        dataset = self._sampler.datasets[patch.volume]
        dataset.read_raw(*self._sampler.raw_box(patch))
        dataset.read_labels(*self._sampler.label_box(patch), self._sampler.channels)

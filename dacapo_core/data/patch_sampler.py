"""Training batches from volumes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dacapo_core.data.augmentation import augment_geometry, augment_intensity
from dacapo_core.data.elastic import (
    ElasticField,
    grown,
    interpolated,
    nearest,
)
from dacapo_core.data.foreground import Foreground, find_foreground
from dacapo_core.experiments.datasplits.augmentation_config import AugmentationConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.experiments.datasplits.patch_grid import PatchGrid

FOREGROUND_SHARE = 0.5
TRIES = 10


class Batch(NamedTuple):
    """One batch of patches.

    Attributes:
        raw: ``(batch, 1, *input_shape)`` float32 in -1…1.
        labels: ``(batch, channels, *output_shape)`` bool.
        mask: as `labels`, False where nothing is known of a channel.
    """

    raw: NDArray[np.float32]
    labels: NDArray[np.bool_]
    mask: NDArray[np.bool_]


class PatchSampler:
    """Draws batches of patches; all chance is the generator's that is passed in.

    Half of the patches are drawn around foreground, each channel as often as any other; half
    anywhere that is labelled. A patch of a two-dimensional network is one section.

    Args:
        datasets: volumes; each is drawn from in proportion to its weight.
        channels: of the labels, in order. A volume may label only some of them.
        input_shape: raw voxels of a patch, (z,) y, x.
        output_shape: label voxels of a patch, centred in it.
        scale: label voxels along one raw voxel, as the network upsamples.
        batch_size: patches in a batch.
        augmentation: None leaves patches as they are.

    Raises:
        ArrayError: volumes do not fit the network or each other; the message names them.
    """

    def __init__(
        self,
        datasets: Sequence[RawGTDataset],
        channels: Sequence[str],
        input_shape: Sequence[int],
        output_shape: Sequence[int],
        scale: Sequence[int] | None = None,
        *,
        batch_size: int = 1,
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        self.datasets = list(datasets)
        self.channels = list(channels)
        self.batch_size = batch_size
        self.augmentation = augmentation
        self._dims = len(input_shape)
        self.grid = PatchGrid.of(input_shape, output_shape, scale or (1,) * self._dims)
        check_channels(self.datasets, self.channels)
        check_voxel_sizes(self.datasets, self.grid)
        weights = np.array([dataset.weight for dataset in self.datasets], float)
        self._shares = weights / weights.sum()
        self._ranges = [self.grid.positions(dataset) for dataset in self.datasets]

    @property
    def voxel_size(self) -> tuple[float, ...]:
        """Voxel size of the labels in nm, one value an axis of the network."""
        return self.datasets[0].label_voxel_size[3 - self._dims :]

    @cached_property
    def foreground(self) -> list[Foreground]:
        """What there is to learn in each volume; found once, before the first batch.

        Raises:
            ArrayError: a volume has no labelled voxel, or no volume any voxel of a channel.
        """
        block = [max(1, size // 2) for size in self.grid.output_shape]
        found = [find_foreground(dataset, self.channels, block) for dataset in self.datasets]
        for dataset, foreground in zip(self.datasets, found, strict=True):
            if not len(foreground.labelled):
                raise ArrayError(
                    f"volume {dataset.name!r}: no voxel of {dataset.labels.array.name} is "
                    "labelled within roi and mask; correct them or leave the volume out"
                )
        for channel in self.channels:
            absent = all(f.whole and not len(f.points[channel]) for f in found)
            if absent:
                names = ", ".join(dataset.labels.array.name for dataset in self.datasets)
                raise ArrayError(
                    f"channel {channel!r} has no voxel in any training volume ({names}); "
                    "nothing can be learnt about it: correct its label values or leave it out"
                )
        return found

    def batch(self, rng: np.random.Generator) -> Batch:
        """The batch of this generator: the same state gives the same batch."""
        patches = [self._patch(rng) for _ in range(self.batch_size)]
        return Batch(*(_stacked(parts) for parts in zip(*patches, strict=True)))

    def _patch(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        index = int(rng.choice(len(self.datasets), p=self._shares))
        dataset, foreground = self.datasets[index], self.foreground[index]
        for _ in range(TRIES):
            begin = self._position(rng, index, foreground)
            output_begin, output_end = self.grid.output_box(begin)
            labels, mask = dataset.read_labels(output_begin, output_end, self.channels)
            if mask.any():
                break
        if self.augmentation is not None and self.augmentation.elastic_displacement:
            raw, labels, mask = self._deformed(self.augmentation, rng, dataset, begin)
        else:
            raw = dataset.read_raw(*self.grid.input_box(begin))
        if self.augmentation is not None:
            raw, labels, mask = augment_geometry(
                self.augmentation, rng, (raw, labels, mask), dataset.label_voxel_size
            )
            raw = augment_intensity(self.augmentation, rng, raw)
        if self._dims == 2:
            raw, labels, mask = raw[0], labels[:, 0], mask[:, 0]
        return raw[None], labels, mask

    def _deformed(
        self,
        config: AugmentationConfig,
        rng: np.random.Generator,
        dataset: RawGTDataset,
        begin: Sequence[int],
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """Raw data, labels and mask of a patch, moved by one and the same field."""
        raw_size, label_size = dataset.raw.voxel_size, dataset.label_voxel_size
        input_box, output_box = self.grid.input_box(begin), self.grid.output_box(begin)
        field = ElasticField.draw(
            rng,
            input_box,
            raw_size,
            config.elastic_spacing,
            config.elastic_displacement,
            axes=range(3 - self._dims, 3),
        )
        raw = dataset.read_raw(*grown(input_box, field.margin(raw_size)))
        larger = grown(output_box, field.margin(label_size))
        labels, mask = dataset.read_labels(*larger, self.channels)
        sources = field.sources(output_box, label_size)
        return (
            interpolated(raw, field.sources(input_box, raw_size)),
            nearest(labels, sources),
            nearest(mask, sources),
        )

    def _position(
        self, rng: np.random.Generator, index: int, foreground: Foreground
    ) -> tuple[int, ...]:
        """First raw voxel of a patch whose output holds a point that was found."""
        points = foreground.labelled
        if rng.random() < FOREGROUND_SHARE:
            present = [found for found in foreground.points.values() if len(found)]
            if present:
                points = present[rng.integers(len(present))]
        point = points[rng.integers(len(points))]
        output_begin = point - rng.integers(0, self.grid.output_shape)
        return self.grid.nearest(output_begin, self._ranges[index])


def _stacked(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """As np.stack, whose result lies in memory as mirrored and transposed parts do."""
    stacked = np.empty((len(parts), *parts[0].shape), parts[0].dtype)
    for place, part in zip(stacked, parts, strict=True):
        place[...] = part
    return stacked


def check_channels(datasets: Sequence[RawGTDataset], channels: Sequence[str]) -> None:
    """Refuse channels that no volume labels, and volumes that label none of them."""
    for channel in channels:
        if not any(channel in dataset.channels for dataset in datasets):
            known = sorted({name for dataset in datasets for name in dataset.channels})
            names = ", ".join(repr(dataset.name) for dataset in datasets)
            raise ArrayError(
                f"channel {channel!r} of the task is labelled in no volume ({names}); "
                f"they label {', '.join(known)}"
            )
    for dataset in datasets:
        check_labels_some(dataset, channels)


def check_labels_some(dataset: RawGTDataset, channels: Sequence[str]) -> None:
    """Refuse a volume that labels none of the channels."""
    if not set(channels) & set(dataset.channels):
        raise ArrayError(
            f"volume {dataset.name!r} labels {', '.join(dataset.channels)}, none of the "
            f"task's channels {', '.join(channels)}"
        )


def check_voxel_sizes(datasets: Sequence[RawGTDataset], grid: PatchGrid) -> None:
    """Refuse volumes whose resolution is not the network's or not each other's."""
    first = datasets[0]
    for dataset in datasets:
        if dataset.scale != grid.scale:
            raise ArrayError(
                f"volume {dataset.name!r}: raw data {dataset.raw.name} has voxels of "
                f"{dataset.raw.voxel_size} nm and ground truth {dataset.labels.array.name} of "
                f"{dataset.label_voxel_size} nm, a factor of {dataset.scale}; the network's "
                f"output is finer than its input by {grid.scale}. Choose other scale levels or "
                "architecture_config.upsample_factors"
            )
        if not np.allclose(dataset.raw.voxel_size, first.raw.voxel_size, rtol=0.01):
            raise ArrayError(
                f"voxel sizes differ: {first.raw.name} has {first.raw.voxel_size} nm, "
                f"{dataset.raw.name} has {dataset.raw.voxel_size} nm; one network sees one "
                "resolution. Choose other scale levels, or correct voxel_size"
            )

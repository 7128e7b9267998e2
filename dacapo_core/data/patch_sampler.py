"""Which patch of which volume is drawn, and with which augmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dacapo_core.data.augmentation import Intensity, Turn
from dacapo_core.data.boxes import Box, Voxels, as_voxels
from dacapo_core.data.elastic_deformation import ElasticField
from dacapo_core.data.foreground_points import Foreground, find_foreground
from dacapo_core.data.patch_grid import PatchGrid
from dacapo_core.experiments.datasplits.augmentation_config import AugmentationConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

FOREGROUND_SHARE = 0.5
TRIES = 10


@dataclass(frozen=True)
class Patch:
    """All that is random about one training patch.

    Attributes:
        volume: which of the sampler's volumes.
        begin: first raw voxel of its input.
        field: elastic deformation; None without.
        turn: mirroring and transposition; None without.
        intensity: variation of the raw data; None without.
    """

    volume: int
    begin: Voxels
    field: ElasticField | None = None
    turn: Turn | None = None
    intensity: Intensity | None = None


class PatchSampler:
    """Draws random patches with the generator that it is given, and nothing else.

    Half of the patches are drawn around foreground, each channel as often as any other; half
    anywhere that is labelled. A patch of a two-dimensional network is one section.

    Args:
        datasets: volumes; each is drawn from in proportion to its weight.
        channels: of the labels, in order. A volume may label only some of them.
        input_shape: raw voxels of a patch, (z,) y, x.
        output_shape: label voxels of a patch, centred in it.
        scale: label voxels along one raw voxel, as the network upsamples.
        augmentation: None leaves patches as they are.

    Attributes:
        shares: of the patches that are drawn from each volume.

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
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        self.datasets = list(datasets)
        self.channels = list(channels)
        self.augmentation = augmentation
        self.dims = len(input_shape)
        self.grid = PatchGrid.of(input_shape, output_shape, scale or (1,) * self.dims)
        check_channels(self.datasets, self.channels)
        check_voxel_sizes(self.datasets, self.grid)
        weights = np.array([dataset.weight for dataset in self.datasets], float)
        self.shares = weights / weights.sum()
        self.ranges = [self.grid.positions(dataset) for dataset in self.datasets]

    @property
    def voxel_size(self) -> tuple[float, ...]:
        """Voxel size of the labels in nm, one value an axis of the network."""
        return self.datasets[0].label_voxel_size[3 - self.dims :]

    @property
    def search_block(self) -> list[int]:
        """Label voxels of the blocks in which something to learn is looked for, z y x."""
        return [max(1, size // 2) for size in self.grid.output_shape]

    @cached_property
    def foreground(self) -> list[Foreground]:
        """Where there is something to learn in each volume; found once, before the first batch.

        Raises:
            ArrayError: a volume has no labelled voxel, or no volume any voxel of a channel.
        """
        return self._checked(
            [find_foreground(each, self.channels, self.search_block) for each in self.datasets]
        )

    def take_foreground(self, found: list[Foreground]) -> None:
        """Take up what `find_foreground` gave for each volume.

        Raises:
            ArrayError: as `foreground`.
        """
        self.foreground = self._checked(found)

    def _checked(self, found: list[Foreground]) -> list[Foreground]:
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

    def draw(self, rng: np.random.Generator) -> Patch:
        """A patch; the same state of the generator gives the same one."""
        volume = int(rng.choice(len(self.datasets), p=self.shares))
        begin = self._position(rng, volume)
        config = self.augmentation
        if config is None:
            return Patch(volume, begin)
        dataset = self.datasets[volume]
        field = None
        if config.elastic_displacement:
            field = ElasticField.draw(
                rng,
                self.grid.input_box(begin),
                dataset.raw.voxel_size,
                config.elastic_spacing,
                config.elastic_displacement,
                axes=range(3 - self.dims, 3),
            )
        shapes = (self.grid.input_shape, self.grid.output_shape)
        return Patch(
            volume,
            begin,
            field,
            Turn.draw(config, rng, shapes, dataset.label_voxel_size),
            Intensity.draw(config, rng, self.grid.input_shape[0]),
        )

    def raw_box(self, patch: Patch) -> Box:
        """Raw voxels that a patch is made from; they may reach beyond the volume."""
        box = self.grid.input_box(patch.begin)
        if patch.field is None:
            return box
        return box.grown(patch.field.margin(self.datasets[patch.volume].raw.voxel_size))

    def label_box(self, patch: Patch) -> Box:
        """Label voxels that a patch is made from; they may reach beyond the ground truth."""
        box = self.grid.output_box(patch.begin)
        if patch.field is None:
            return box
        return box.grown(patch.field.margin(self.datasets[patch.volume].label_voxel_size))

    def reach(self, volume: int) -> tuple[Box, Box]:
        """Raw and label voxels of a volume that its patches can be made from."""
        dataset = self.datasets[volume]
        first, last = zip(*self.ranges[volume], strict=True)
        furthest = 0.0
        if self.augmentation is not None:
            furthest = self.augmentation.elastic_displacement

        def reached(box: Callable[[Sequence[int]], Box], voxel_size: Sequence[float]) -> Box:
            margin = as_voxels(np.ceil(furthest / size) for size in voxel_size)
            return Box(box(first).begin, box(last).end).grown(margin)

        return (
            reached(self.grid.input_box, dataset.raw.voxel_size),
            reached(self.grid.output_box, dataset.label_voxel_size),
        )

    def _position(self, rng: np.random.Generator, volume: int) -> Voxels:
        """First raw voxel of a patch whose output holds a point that was found."""
        foreground = self.foreground[volume]
        for _ in range(TRIES):
            points = foreground.labelled
            if rng.random() < FOREGROUND_SHARE:
                present = [found for found in foreground.points.values() if len(found)]
                if present:
                    points = present[rng.integers(len(present))]
            point = points[rng.integers(len(points))]
            output_begin = point - rng.integers(0, self.grid.output_shape)
            begin = as_voxels(self.grid.nearest(output_begin, self.ranges[volume]))
            # where raw data ends the patch has been moved, and may have lost the point
            if self.grid.output_box(begin).contains(point):
                break
        return begin


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

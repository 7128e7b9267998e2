"""A volume: raw data, ground truth, and how their grids lie in each other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dacapo_core.data.intensity_range import AS_IT_IS, Intensities, Range, type_range
from dacapo_core.experiments.datasplits.datasets.arrays import (
    BinarizeArrayConfig,
    ConcatArrayConfig,
    GroundTruthConfig,
)
from dacapo_core.experiments.datasplits.datasets.arrays.array import (
    Array,
    ArrayError,
    Voxels,
    same_voxel_size,
)
from dacapo_core.experiments.datasplits.datasets.labels import (
    ChannelLabels,
    ConcatLabels,
    GroupedLabels,
    Labels,
    check_no_channel_axis,
    read_volume,
)
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset_config import RawGTDatasetConfig


class RawGTDataset:
    """One volume (DaCapo's ``RawGTDataset``).

    Raw data is counted in raw voxels. Labels are counted in *label voxels from where the raw data
    begins*, so that label voxel ``i * scale`` begins where raw voxel ``i`` does, whatever the
    arrays' own offsets.

    Attributes:
        name, weight: see ``RawGTDatasetConfig``.
        raw: the raw data.
        labels: the ground truth.
        scale: label voxels along one raw voxel, z y x.
        begin, end: the box whose labels are used, in label voxels.
        given_range: raw values that are to become -1 and 1, where that is said.
    """

    def __init__(
        self,
        name: str,
        raw: Array,
        labels: Labels,
        *,
        mask: Array | None = None,
        weight: float = 1.0,
        roi: tuple[Sequence[int], Sequence[int | None]] = ((0, 0, 0), (None, None, None)),
        intensity_range: tuple[float, float] | None = None,
    ) -> None:
        self.name = name
        self.weight = weight
        self.raw = raw
        self.labels = labels
        self.mask = mask
        check_no_channel_axis(raw)
        self.given_range = intensity_range or raw.known_range
        self._intensity_range = self.given_range or type_range(raw.dtype)
        self.scale = whole_scale(raw, labels.array)
        self._origin = origin(labels.array, raw)
        self.begin, self.end = self._box(roi)
        if mask is not None:
            self.begin, self.end = self._masked(mask)

    @property
    def channels(self) -> list[str]:
        """What is labelled here."""
        return self.labels.channels

    @property
    def label_voxel_size(self) -> tuple[float, float, float]:
        """Voxel size of the labels, z y x, in nm."""
        return self.labels.array.voxel_size

    @property
    def intensity_range(self) -> Range:
        """Raw values that become -1 and 1: as given, as `scaled` said, or the type's range."""
        return self._intensity_range

    @property
    def raw_box(self) -> tuple[Voxels, Voxels]:
        """The raw voxels whose labels are used: the first, and one past the last."""
        return (
            as_voxels([b // s for b, s in zip(self.begin, self.scale, strict=True)]),
            as_voxels([-(-e // s) for e, s in zip(self.end, self.scale, strict=True)]),
        )

    @property
    def label_origin(self) -> Voxels:
        """Label voxel at which the ground truth's arrays begin."""
        return self._origin

    @property
    def mask_origin(self) -> Voxels:
        """Label voxel at which the mask begins."""
        assert self.mask is not None
        return as_voxels(
            [a + b for a, b in zip(self._origin, origin(self.mask, self.labels.array), strict=True)]
        )

    def reading_from(self, replacement: Callable[[Array], Array]) -> Self:
        """The same volume, read from other arrays."""
        other = copy.copy(self)
        other.raw = replacement(self.raw)
        other.labels = self.labels.reading_from(replacement)
        other.mask = None if self.mask is None else replacement(self.mask)
        return other

    def scaled(self, intensities: Intensities) -> Self:
        """The same volume with the range of its raw data, unless one is given."""
        other = copy.copy(self)
        if self.given_range is None:
            other._intensity_range = intensities.range_of(self.raw.name, self.raw.dtype)
        return other

    def read_raw(self, begin: Sequence[int], end: Sequence[int]) -> NDArray[np.float32]:
        """Raw data ``(z, y, x)`` in -1…1; beyond the volume it is mirrored.

        Raises:
            ArrayError: there are NaNs or infinities in it.
        """
        inner_begin = [min(max(b, 0), n - 1) for b, n in zip(begin, self.raw.shape, strict=True)]
        inner_end = [max(min(e, n), 1) for e, n in zip(end, self.raw.shape, strict=True)]
        data = read_volume(self.raw, as_voxels(inner_begin), as_voxels(inner_end))
        values = data.astype(np.float32)
        if data.dtype.kind == "f" and not np.isfinite(values).all():
            first = np.argwhere(~np.isfinite(values))[0] + inner_begin
            raise ArrayError(
                f"raw data {self.raw.name} holds a value that is not finite at voxel "
                f"{tuple(int(i) for i in first)}; mask or repair it first"
            )
        if self._intensity_range != AS_IT_IS:
            low, high = self._intensity_range
            values -= np.float32(low)
            values *= np.float32(2 / (high - low))
            values -= np.float32(1)
        before = [ib - b for ib, b in zip(inner_begin, begin, strict=True)]
        after = [e - ie for e, ie in zip(end, inner_end, strict=True)]
        if any(before) or any(after):
            values = np.pad(values, list(zip(before, after, strict=True)), mode="symmetric")
        return values

    def read_labels(
        self, begin: Sequence[int], end: Sequence[int], channels: Sequence[str]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Foreground and what is known, each ``(channels, z, y, x)``.

        Nothing is known outside `begin`…`end` of the volume, where its mask is zero, and of
        channels that it does not label.
        """
        shape = tuple(e - b for b, e in zip(begin, end, strict=True))
        foreground = np.zeros((len(channels), *shape), bool)
        known = np.zeros((len(channels), *shape), bool)
        inner = self._inside(begin, end)
        if inner is None:
            return foreground, known
        first, last, target = inner
        labels, labelled = self.labels.read(first, last)
        if self.mask is not None:
            labelled = labelled & (read_volume(self.mask, *self._mask_box(first, last)) != 0)
        for index, channel in enumerate(channels):
            if channel in self.channels:
                foreground[(index, *target)] = labels[self.channels.index(channel)] & labelled
                known[(index, *target)] = labelled
        return foreground, known

    def read_instances(
        self, channel: str, begin: Sequence[int], end: Sequence[int]
    ) -> NDArray[Any] | None:
        """Instance ids ``(z, y, x)``, 0 is background; None if the channel has none."""
        inner = self._inside(begin, end)
        if inner is None or channel not in self.channels:
            return None
        first, last, target = inner
        found = self.labels.read_instances(channel, first, last)
        if found is None:
            return None
        ids = np.zeros(tuple(e - b for b, e in zip(begin, end, strict=True)), found.dtype)
        ids[target] = found
        return ids

    def _box(
        self, roi: tuple[Sequence[int], Sequence[int | None]]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape = self.labels.array.shape
        begin = tuple(roi[0])
        end = tuple(n if e is None else e for e, n in zip(roi[1], shape, strict=True))
        if any(e > n or b >= e for b, e, n in zip(begin, end, shape, strict=True)):
            raise ArrayError(
                f"volume {self.name!r}: roi {begin} to {end} is not inside the ground truth "
                f"{self.labels.array.name} of shape {shape}"
            )
        begin = tuple(b + o for b, o in zip(begin, self._origin, strict=True))
        end = tuple(e + o for e, o in zip(end, self._origin, strict=True))
        raw_end = tuple(n * s for n, s in zip(self.raw.shape, self.scale, strict=True))
        begin = tuple(max(b, 0) for b in begin)
        end = tuple(min(e, r) for e, r in zip(end, raw_end, strict=True))
        if any(b >= e for b, e in zip(begin, end, strict=True)):
            raise ArrayError(
                f"volume {self.name!r}: raw data {self.raw.name} and ground truth "
                f"{self.labels.array.name} do not overlap; check voxel_size and offset"
            )
        return begin, end

    def _inside(
        self, begin: Sequence[int], end: Sequence[int]
    ) -> tuple[Voxels, Voxels, tuple[Any, ...]] | None:
        """The part of a box that has labels: in the array's own voxels, and within the box."""
        first = [max(a, b) for a, b in zip(begin, self.begin, strict=True)]
        last = [min(a, b) for a, b in zip(end, self.end, strict=True)]
        if any(a >= b for a, b in zip(first, last, strict=True)):
            return None
        target = tuple(slice(a - o, b - o) for a, b, o in zip(first, last, begin, strict=True))
        return (
            as_voxels([a - o for a, o in zip(first, self._origin, strict=True)]),
            as_voxels([b - o for b, o in zip(last, self._origin, strict=True)]),
            target,
        )

    def _masked(self, mask: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The used box as far as the mask goes; beyond it nothing is known."""
        check_no_channel_axis(mask)
        truth = self.labels.array
        if not same_voxel_size(mask.voxel_size, truth.voxel_size):
            raise ArrayError(
                f"mask {mask.name} has voxel size {mask.voxel_size}, ground truth {truth.name} "
                f"has {truth.voxel_size} nm; correct voxel_size, or choose another scale level"
            )
        first = self.mask_origin
        begin = tuple(max(b, f) for b, f in zip(self.begin, first, strict=True))
        end = tuple(min(e, f + n) for e, f, n in zip(self.end, first, mask.shape, strict=True))
        if any(b >= e for b, e in zip(begin, end, strict=True)):
            raise ArrayError(
                f"volume {self.name!r}: mask {mask.name} does not overlap the part of ground truth "
                f"{truth.name} that is used; check roi, voxel_size and offset"
            )
        return begin, end

    def _mask_box(self, begin: Voxels, end: Voxels) -> tuple[Voxels, Voxels]:
        assert self.mask is not None
        shift = origin(self.mask, self.labels.array)
        return (
            as_voxels([b - s for b, s in zip(begin, shift, strict=True)]),
            as_voxels([e - s for e, s in zip(end, shift, strict=True)]),
        )


def whole_scale(raw: Array, truth: Array) -> Voxels:
    """Label voxels along one raw voxel.

    Raises:
        ArrayError: the voxel sizes are no whole multiples.
    """
    ratios = [r / t for r, t in zip(raw.voxel_size, truth.voxel_size, strict=True)]
    scale = [round(ratio) for ratio in ratios]
    if any(s < 1 or abs(s - r) > 0.01 * s for s, r in zip(scale, ratios, strict=True)):
        raise ArrayError(
            f"voxel sizes do not match: raw data {raw.name} has {raw.voxel_size} nm, ground truth "
            f"{truth.name} has {truth.voxel_size} nm; a raw voxel must be a whole number of label "
            "voxels along each axis. Correct voxel_size, or choose another scale level"
        )
    return as_voxels(scale)


def origin(array: Array, reference: Array) -> Voxels:
    """Where `array` begins, seen from where `reference` begins, in voxels of `array`.

    Rounded to whole voxels: writers disagree whether an offset is a voxel's corner or centre.
    """
    return as_voxels(
        [
            round((a - r) / v)
            for a, r, v in zip(array.offset, reference.offset, array.voxel_size, strict=True)
        ]
    )


def as_voxels(values: Sequence[int]) -> Voxels:
    """Three whole numbers."""
    z, y, x = (int(value) for value in values)
    return (z, y, x)


def open_labels(config: GroundTruthConfig) -> Labels:
    """The ground truth, its arrays opened."""
    if isinstance(config, ConcatArrayConfig):
        sources = config.source_array_configs
        return ConcatLabels({channel: source.array() for channel, source in sources.items()})
    if isinstance(config, BinarizeArrayConfig):
        return GroupedLabels(
            config.source_array_config.array(),
            config.groupings,
            None if config.background == "others" else config.background,
            config.unlabelled,
        )
    if config.channels is None:
        raise ArrayError(
            f"ground truth {config.url} has no channels: name them in gt_config.channels, or use "
            "gt_config.type binarize for integer labels"
        )
    return ChannelLabels(config.array(), config.channels)


def open_dataset(config: RawGTDatasetConfig) -> RawGTDataset:
    """The volume of a configuration; see ``RawGTDatasetConfig.dataset``."""
    if config.gt_config is None:
        raise ArrayError(f"volume {config.name!r} has no gt_config")
    return RawGTDataset(
        config.name,
        config.raw_config.array(),
        open_labels(config.gt_config),
        mask=None if config.mask_config is None else config.mask_config.array(),
        weight=config.weight,
        roi=(config.roi.begin, config.roi.end),
        intensity_range=config.intensity_range,
    )

"""A volume: raw data, ground truth, and how their grids lie in each other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dacapo_core.data.boxes import Box, Voxels, as_voxels, mirrored
from dacapo_core.data.intensity_range import AS_IT_IS, Intensities, Range, type_range
from dacapo_core.experiments.datasplits.datasets.arrays.array import (
    Array,
    ArrayError,
    same_voxel_size,
)
from dacapo_core.experiments.datasplits.datasets.labels import (
    Labels,
    check_no_channel_axis,
    read_volume,
)


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
        label_origin: label voxel at which the ground truth's arrays begin.
        box: the label voxels that are used, from `begin` to `end`.
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
        self.label_origin = origin(labels.array, raw)
        self.box = self._box(roi) if mask is None else self._masked(self._box(roi), mask)
        self.begin, self.end = self.box

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
    def raw_box(self) -> Box:
        """The raw voxels whose labels are used."""
        return self.raw_box_of(self.box)

    @property
    def mask_origin(self) -> Voxels:
        """Label voxel at which the mask begins."""
        assert self.mask is not None
        shift = origin(self.mask, self.labels.array)
        return as_voxels(map(sum, zip(self.label_origin, shift, strict=True)))

    def raw_box_of(self, box: Box) -> Box:
        """The raw voxels that a box of label voxels touches."""
        return Box.of(
            (b // s for b, s in zip(box.begin, self.scale, strict=True)),
            (-(-e // s) for e, s in zip(box.end, self.scale, strict=True)),
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
        places = [mirrored(*along) for along in zip(begin, end, self.raw.shape, strict=True)]
        inner = Box.of(
            (int(place.min()) for place in places), (int(place.max()) + 1 for place in places)
        )
        data = read_volume(self.raw, *inner)
        values = data.astype(np.float32)
        if data.dtype.kind == "f" and not np.isfinite(values).all():
            first = np.argwhere(~np.isfinite(values))[0] + inner.begin
            raise ArrayError(
                f"raw data {self.raw.name} holds a value that is not finite at voxel "
                f"{tuple(int(i) for i in first)}; mask or repair it first"
            )
        if self._intensity_range != AS_IT_IS:
            low, high = self._intensity_range
            values -= np.float32(low)
            values *= np.float32(2 / (high - low))
            values -= np.float32(1)
        for axis, (place, first) in enumerate(zip(places, inner.begin, strict=True)):
            if (begin[axis], end[axis]) != (first, inner.end[axis]):
                values = values.take(place - first, axis)
        return values

    def read_labels(
        self, begin: Sequence[int], end: Sequence[int], channels: Sequence[str]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Foreground and what is known, each ``(channels, z, y, x)``.

        Nothing is known outside `begin`…`end` of the volume, where its mask is zero, and of
        channels that it does not label.
        """
        box = Box.of(begin, end)
        foreground = np.zeros((len(channels), *box.shape), bool)
        known = np.zeros_like(foreground)
        inside = box.intersection(self.box)
        if inside is None:
            return foreground, known
        labels, labelled = self.labels.read(*inside.seen_from(self.label_origin))
        if self.mask is not None:
            mask = read_volume(self.mask, *inside.seen_from(self.mask_origin))
            labelled = labelled & (mask != 0)
        place = inside.seen_from(box.begin).slices
        for index, channel in enumerate(channels):
            if channel in self.channels:
                foreground[(index, *place)] = labels[self.channels.index(channel)] & labelled
                known[(index, *place)] = labelled
        return foreground, known

    def read_instances(
        self, channel: str, begin: Sequence[int], end: Sequence[int]
    ) -> NDArray[Any] | None:
        """Instance ids ``(z, y, x)``, 0 is background; None if the channel has none."""
        box = Box.of(begin, end)
        inside = box.intersection(self.box)
        if inside is None or channel not in self.channels:
            return None
        found = self.labels.read_instances(channel, *inside.seen_from(self.label_origin))
        if found is None:
            return None
        ids = np.zeros(box.shape, found.dtype)
        ids[inside.seen_from(box.begin).slices] = found
        return ids

    def _box(self, roi: tuple[Sequence[int], Sequence[int | None]]) -> Box:
        """The part of `roi`, in voxels of the ground truth, for which there is raw data."""
        shape = self.labels.array.shape
        begin = tuple(roi[0])
        end = tuple(n if e is None else e for e, n in zip(roi[1], shape, strict=True))
        if any(e > n or b >= e for b, e, n in zip(begin, end, shape, strict=True)):
            raise ArrayError(
                f"volume {self.name!r}: roi {begin} to {end} is not inside the ground truth "
                f"{self.labels.array.name} of shape {shape}"
            )
        raw_end = [n * s for n, s in zip(self.raw.shape, self.scale, strict=True)]
        box = Box.of(begin, end).shifted(self.label_origin)
        used = box.intersection(Box.of((0, 0, 0), raw_end))
        if used is None:
            raise ArrayError(
                f"volume {self.name!r}: raw data {self.raw.name} and ground truth "
                f"{self.labels.array.name} do not overlap; check voxel_size and offset"
            )
        return used

    def _masked(self, box: Box, mask: Array) -> Box:
        """A box as far as the mask goes; beyond it nothing is known."""
        check_no_channel_axis(mask)
        truth = self.labels.array
        if not same_voxel_size(mask.voxel_size, truth.voxel_size):
            raise ArrayError(
                f"mask {mask.name} has voxel size {mask.voxel_size}, ground truth {truth.name} "
                f"has {truth.voxel_size} nm; correct voxel_size, or choose another scale level"
            )
        used = box.intersection(Box((0, 0, 0), mask.shape).shifted(self.mask_origin))
        if used is None:
            raise ArrayError(
                f"volume {self.name!r}: mask {mask.name} does not overlap the part of ground truth "
                f"{truth.name} that is used; check roi, voxel_size and offset"
            )
        return used


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
    offsets = zip(array.offset, reference.offset, array.voxel_size, strict=True)
    return as_voxels(round((a - r) / v) for a, r, v in offsets)

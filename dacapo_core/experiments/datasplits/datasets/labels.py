"""Ground truth as binary channels, whichever way it is stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_core.experiments.datasplits.datasets.arrays.array import Array, ArrayError, Voxels


class Labels(ABC):
    """Binary channels over one grid.

    Attributes:
        array: the (first) array behind them; shape, voxel size and offset are its own.
        channels: what is labelled.
    """

    array: Array
    channels: list[str]

    @abstractmethod
    def read(self, begin: Voxels, end: Voxels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Foreground ``(channels, z, y, x)`` and where anything is known ``(z, y, x)``."""

    def read_instances(self, channel: str, begin: Voxels, end: Voxels) -> NDArray[Any] | None:
        """Instance ids ``(z, y, x)``, 0 is background; None if `channel` has no instances."""
        return None


class ChannelLabels(Labels):
    """The channel axis of one array, or one binary mask."""

    def __init__(self, array: Array, channels: Sequence[str]) -> None:
        found = array.num_channels or 1
        if found != len(channels):
            raise ArrayError(
                f"{array.name} has {found} channels, and {len(channels)} are named: "
                f"{', '.join(channels)}"
            )
        self.array = array
        self.channels = list(channels)

    def read(self, begin: Voxels, end: Voxels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        data = self.array.read(begin, end) != 0
        labels = data if data.ndim == 4 else data[None]
        return labels, np.ones(labels.shape[1:], bool)


class ConcatLabels(Labels):
    """One array a channel."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays
        self.channels = list(arrays)
        self.array = first = next(iter(arrays.values()))
        for array in arrays.values():
            check_no_channel_axis(array)
            same = np.allclose(array.voxel_size, first.voxel_size, rtol=1e-3)
            same &= np.allclose(array.offset, first.offset, atol=min(first.voxel_size) / 2)
            if array.shape != first.shape or not same:
                raise ArrayError(
                    f"{array.name} has shape {array.shape}, voxel size {array.voxel_size} and "
                    f"offset {array.offset}, {first.name} has {first.shape}, {first.voxel_size} "
                    f"and {first.offset}; the channels of one ground truth share one grid"
                )

    def read(self, begin: Voxels, end: Voxels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        labels = np.stack([read_volume(a, begin, end) != 0 for a in self.arrays.values()])
        return labels, np.ones(labels.shape[1:], bool)


class GroupedLabels(Labels):
    """Integer labels, one channel a group of values; see ``BinarizeArrayConfig``."""

    def __init__(
        self,
        array: Array,
        groupings: dict[str, list[int]],
        background: list[int] | None,
        unlabelled: list[int],
    ) -> None:
        """`background` None: every value that is not grouped."""
        check_no_channel_axis(array)
        if array.dtype.kind not in "iub":
            raise ArrayError(f"{array.name} holds {array.dtype}, not integer labels")
        self.array = array
        self.groupings = groupings
        self.channels = list(groupings)
        self.background = background
        self.unlabelled = unlabelled
        self._checked: set[int] = set()

    def read(self, begin: Voxels, end: Voxels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        values = read_volume(self.array, begin, end)
        self._check_values(values)
        known = ~np.isin(values, self.unlabelled)
        labels = np.stack([self._foreground(values, ids) for ids in self.groupings.values()])
        return labels & known, known

    def read_instances(self, channel: str, begin: Voxels, end: Voxels) -> NDArray[Any] | None:
        if self.groupings.get(channel) != []:
            return None
        values = read_volume(self.array, begin, end)
        return np.where(self._foreground(values, []), values, 0)

    def _foreground(self, values: NDArray[Any], ids: list[int]) -> NDArray[np.bool_]:
        if ids:
            return np.isin(values, ids)
        return ~np.isin(values, [*(self.background or [0]), *self.unlabelled])

    def _check_values(self, values: NDArray[Any]) -> None:
        if self.background is None or any(not ids for ids in self.groupings.values()):
            return
        meant = {value for ids in self.groupings.values() for value in ids}
        meant |= {*self.background, *self.unlabelled}
        strange = set(np.unique(values).tolist()) - meant
        if strange:
            listed = ", ".join(str(value) for value in sorted(strange)[:8])
            raise ArrayError(
                f"{self.array.name} holds label values that no channel has: {listed}. Name them in "
                "groupings, background or unlabelled, or set background: others"
            )


def check_no_channel_axis(array: Array) -> None:
    """Refuse an array with more than one channel."""
    if array.num_channels not in (None, 1):
        raise ArrayError(
            f"{array.name} has a channel axis of {array.num_channels}; "
            "one array of z, y, x is wanted here"
        )


def read_volume(array: Array, begin: Voxels, end: Voxels) -> NDArray[Any]:
    """A box ``(z, y, x)`` of an array of at most one channel."""
    data = array.read(begin, end)
    return data[0] if data.ndim == 4 else data

"""Ground truth as binary channels, whichever way it is stored."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dacapo_core.data.boxes import Voxels
from dacapo_core.data.dtype_conversion import stored_numbers, stored_tensor
from dacapo_core.experiments.datasplits.datasets.arrays.array import (
    Array,
    ArrayError,
    same_voxel_size,
)

# comparing with each value in turn is faster than sorting up to here
_FEW = 8


class Labels(ABC):
    """Binary channels over one grid.

    Attributes:
        arrays: those behind them, of one shape, voxel size and offset.
        channels: what is labelled.
    """

    arrays: list[Array]
    channels: list[str]

    @property
    def array(self) -> Array:
        """The (first) array behind them; shape, voxel size and offset are its own."""
        return self.arrays[0]

    def reading_from(self, replacement: Callable[[Array], Array]) -> Self:
        """The same labels, read from other arrays."""
        other = copy.copy(self)
        other.arrays = [replacement(array) for array in self.arrays]
        return other

    def read(self, begin: Voxels, end: Voxels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Foreground ``(channels, z, y, x)`` and where anything is known ``(z, y, x)``.

        Raises:
            ArrayError: a value that means nothing; it is named.
        """
        values = [array.read(begin, end) for array in self.arrays]
        self.check(values, begin)
        labels, known = self.to_channels([stored_tensor(each) for each in values])
        return labels.numpy(), known.numpy()

    def check(self, values: Sequence[NDArray[Any]], begin: Voxels) -> None:
        """Refuse values, read from `arrays`, that mean nothing.

        Args:
            begin: the voxel where they begin.

        Raises:
            ArrayError: it names them.
        """
        for array, each in zip(self.arrays, values, strict=True):
            if each.dtype.kind != "f":
                continue
            strange = np.argwhere(~(np.isfinite(each) & (each == np.rint(each))))
            if len(strange):
                place = tuple(int(i) + b for i, b in zip(strange[0][-3:], begin, strict=True))
                raise ArrayError(
                    f"{array.name} holds {each[tuple(strange[0])]} at voxel {place}; labels are "
                    "whole numbers. Correct it, or threshold what is not labels yet"
                )

    @abstractmethod
    def to_channels(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Foreground ``(channels, z, y, x)`` and what is known ``(z, y, x)``, both bool.

        Args:
            values: a box of each of `arrays`, as `stored_tensor` has it, on any device.
        """

    def faults(self, values: Sequence[Tensor]) -> Tensor | None:
        """Whether `check` would refuse `values`: a bool on their device; None if it never does."""
        found = None
        for each in values:
            if each.is_floating_point():
                strange = (~(each.isfinite() & (each == each.round()))).any()
                found = strange if found is None else found | strange
        return found

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
        self.arrays = [array]
        self.channels = list(channels)

    def to_channels(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        (data,) = values
        return _all_known((data if data.ndim == 4 else data[None]) != 0)


class ConcatLabels(Labels):
    """One array a channel."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = list(arrays.values())
        self.channels = list(arrays)
        first = self.array
        for array in self.arrays:
            check_no_channel_axis(array)
            same = same_voxel_size(array.voxel_size, first.voxel_size)
            same &= np.allclose(array.offset, first.offset, atol=min(first.voxel_size) / 2)
            if array.shape != first.shape or not same:
                raise ArrayError(
                    f"{array.name} has shape {array.shape}, voxel size {array.voxel_size} and "
                    f"offset {array.offset}, {first.name} has {first.shape}, {first.voxel_size} "
                    f"and {first.offset}; the channels of one ground truth share one grid"
                )

    def to_channels(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return _all_known(torch.stack([_volume(each) != 0 for each in values]))


class GroupedLabels(Labels):
    """Whole numbers, one channel a group of values; see ``BinarizeArrayConfig``."""

    def __init__(
        self,
        array: Array,
        groupings: dict[str, list[int]],
        background: list[int] | None,
        unlabelled: list[int],
    ) -> None:
        """`background` None: every value that is not grouped."""
        check_no_channel_axis(array)
        self.arrays = [array]
        self.groupings = groupings
        self.channels = list(groupings)
        self.background = background
        self.unlabelled = unlabelled

    def to_channels(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        (data,) = (_volume(each) for each in values)
        known = ~self._is_any(data, self.unlabelled)
        labels = torch.stack([self._foreground(data, ids) for ids in self.groupings.values()])
        return labels & known, known

    def read_instances(self, channel: str, begin: Voxels, end: Voxels) -> NDArray[Any] | None:
        if self.groupings.get(channel) != []:
            return None
        values = read_volume(self.array, begin, end)
        ids = np.where(self._foreground(stored_tensor(values), []).numpy(), values, 0)
        return ids.astype(np.int64) if ids.dtype.kind == "f" else ids

    def _foreground(self, values: Tensor, ids: list[int]) -> Tensor:
        if ids:
            return self._is_any(values, ids)
        return ~self._is_any(values, [*(self.background or [0]), *self.unlabelled])

    def _is_any(self, values: Tensor, ids: Sequence[int]) -> Tensor:
        wanted = stored_numbers(ids, self.array.dtype)
        if len(wanted) > _FEW:
            return torch.isin(values, torch.tensor(wanted, dtype=values.dtype).to(values.device))
        found = torch.zeros_like(values, dtype=torch.bool)
        for each in wanted:
            found |= values == each
        return found

    @property
    def _meant(self) -> list[int] | None:
        """All values that mean something; None where every value does."""
        if self.background is None or any(not ids for ids in self.groupings.values()):
            return None
        grouped = {value for ids in self.groupings.values() for value in ids}
        return sorted(grouped | {*self.background, *self.unlabelled})

    def faults(self, values: Sequence[Tensor]) -> Tensor | None:
        fraction, meant = super().faults(values), self._meant
        if meant is None:
            return fraction
        strange = ~self._is_any(values[0], meant).all()
        return strange if fraction is None else strange | fraction

    def check(self, values: Sequence[NDArray[Any]], begin: Voxels) -> None:
        super().check(values, begin)
        faults = self.faults([stored_tensor(each) for each in values])
        if faults is None or not bool(faults):
            return
        strange = set(np.unique(values[0]).tolist()) - set(self._meant or ())
        listed = ", ".join(str(value) for value in sorted(strange)[:8])
        raise ArrayError(
            f"{self.array.name} holds label values that no channel has: {listed}. Name them in "
            "groupings, background or unlabelled, or set background: others"
        )


def _all_known(labels: Tensor) -> tuple[Tensor, Tensor]:
    return labels, torch.ones(labels.shape[1:], dtype=torch.bool, device=labels.device)


def _volume(values: Tensor) -> Tensor:
    """``(z, y, x)`` of at most one channel."""
    return values[0] if values.ndim == 4 else values


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

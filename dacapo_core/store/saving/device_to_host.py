"""Copying tensors from a device into host memory: in few large copies, on a stream of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

# a copy costs some 10 µs to ask for, the time of half a megabyte on its way to the host
_LARGE = 4 << 20
_PACK = 32 << 20
ALIGNMENT = 64


@dataclass
class _Pack:
    """Neighbours in host memory that are gathered on the device and leave it together.

    Attributes:
        first, last: of the tensors, `last` excluded.
        gathered: views of `staging`, one a tensor.
    """

    first: int
    last: int
    gathered: list[torch.Tensor]
    staging: torch.Tensor
    host: torch.Tensor


@dataclass(frozen=True)
class Copying:
    """Copies from one device that have been started.

    Attributes:
        copied: an event on the device, behind the copies; None on a CPU, which copies at once.
    """

    device: torch.device
    copied: Any

    def hold_device(self) -> None:
        """Make what is queued on the device's current stream from now on wait for the copies."""
        torch.get_device_module(self.device).current_stream(self.device).wait_event(self.copied)

    def settle(self) -> None:
        """Wait until the copies are done."""
        if self.copied is not None:
            self.copied.synchronize()


class DeviceCopies:
    """The plan of copies from one device: where tensors go, in which packs; kept for later saves.

    Tensors below 4 MiB are gathered on the device, one kernel for many of them, in packs of at
    most 32 MiB; the memory for one pack is kept there.
    """

    def __init__(
        self, device: torch.device, targets: Sequence[torch.Tensor], arena: torch.Tensor
    ) -> None:
        """
        Args:
            targets: host tensors over `arena`, dense, in the order of their places.
            arena: bytes, pinned where the device is CUDA.
        """
        self._device = device
        self._targets = list(targets)
        self._module = torch.get_device_module(device)
        self._stream = (
            torch.cuda.Stream(device, priority=-1) if device.type == "cuda" else torch.cpu.Stream()
        )
        spans = [_span(target, arena) for target in self._targets]
        groups = _groups(spans)
        with self._module.stream(self._stream):
            largest = max(
                (spans[last - 1][1] - spans[first][0] for first, last in groups), default=0
            )
            staging = torch.empty(largest, dtype=torch.uint8, device=device)
        self._packs = {
            first: self._pack(first, last, spans, staging, arena) for first, last in groups
        }

    def start(self, sources: Sequence[torch.Tensor], early: int) -> tuple[Copying, Copying]:
        """Queue the copies, behind what is already queued on the device's current stream.

        Args:
            sources: laid out as the targets are.
            early: how many, from the first, are copied before the others.

        Returns:
            the copies of the early ones, and all copies.
        """
        stream = self._stream
        stream.wait_stream(self._module.current_stream(self._device))
        at = 0
        before = stream.record_event()
        with self._module.stream(stream):
            while at < len(sources):
                at = self._copy(at, sources)
                if at >= early > 0:
                    before, early = stream.record_event(), 0
        return Copying(self._device, before), Copying(self._device, stream.record_event())

    def _copy(self, at: int, sources: Sequence[torch.Tensor]) -> int:
        pack = self._packs.get(at)
        if pack is None:
            self._targets[at].copy_(sources[at], non_blocking=True)
            return at + 1
        # one kernel takes tensors of one type
        by_type: dict[torch.dtype, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
        for gathered, source in zip(pack.gathered, sources[at : pack.last], strict=True):
            to, of = by_type.setdefault(source.dtype, ([], []))
            to.append(gathered)
            of.append(source)
        for to, of in by_type.values():
            torch._foreach_copy_(to, of)
        pack.host.copy_(pack.staging, non_blocking=True)
        return pack.last

    def _pack(
        self,
        first: int,
        last: int,
        spans: list[tuple[int, int]],
        staging: torch.Tensor,
        arena: torch.Tensor,
    ) -> _Pack:
        start, stop = spans[first][0], spans[last - 1][1]
        memory = staging.untyped_storage()
        gathered = []
        for target, (place, _) in zip(self._targets[first:last], spans[first:last], strict=True):
            view = torch.empty(0, dtype=target.dtype, device=staging.device)
            offset = (place - start) // target.itemsize
            gathered.append(view.set_(memory, offset, target.shape, target.stride()))
        return _Pack(first, last, gathered, staging[: stop - start], arena[start:stop])


def _span(target: torch.Tensor, arena: torch.Tensor) -> tuple[int, int]:
    start = target.data_ptr() - arena.data_ptr()
    return start, start + target.nbytes


def _groups(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(first, last + 1) of each row of two or more small neighbours that fit one pack."""
    groups: list[tuple[int, int]] = []
    first = 0
    for number in range(1, len(spans) + 1):
        if number < len(spans) and _is_together(spans, first, number):
            continue
        if number - first > 1:
            groups.append((first, number))
        first = number
    return groups


def _is_together(spans: Sequence[tuple[int, int]], first: int, number: int) -> bool:
    (start, stop), before = spans[number], spans[number - 1]
    small = stop - start < _LARGE and before[1] - before[0] < _LARGE
    follows = start == -(-before[1] // ALIGNMENT) * ALIGNMENT
    return small and follows and stop - spans[first][0] <= _PACK

"""Host memory for the copy of a state, kept from save to save.

Fresh memory costs a page fault every 4 KiB, several times the copy itself; kept buffers cost
the copy alone. For a state on CUDA they are pinned, and filled on a side stream while the device
computes on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch

from dacapo_core.store.checkpoint_format.savable_state import map_tensors
from dacapo_core.store.saving.device_to_host import ALIGNMENT, Copying, DeviceCopies
from dacapo_core.store.saving.state_fence import StateFence
from dacapo_core.store.saving.storage_spans import (
    Key,
    Span,
    as_bytes,
    empty_like,
    key_of,
    over,
    spans_of,
)


@dataclass
class Snapshot:
    """A copy of a state, in CPU tensors that nobody changes.

    Attributes:
        state: as it was given, with its tensors replaced by copies.
    """

    state: dict[str, Any]
    _copying: list[Copying] = field(default_factory=list)
    # kept alive: freed memory could go to another tensor while it is still being copied
    _sources: list[torch.Tensor] = field(default_factory=list)

    def settle(self) -> None:
        """Wait until the copies from devices are done."""
        for each in self._copying:
            each.settle()
        self._copying, self._sources = [], []


class HostBuffers:
    """Host memory for one snapshot, allocated at the first save and grown when needed.

    A snapshot is valid until the next is taken.
    """

    def __init__(self, beside: Collection[str] = ("cuda",)) -> None:
        """
        Args:
            beside: types of the devices that copy on a side stream.
        """
        self._beside = beside
        self._arena = torch.empty(0, dtype=torch.uint8, device="cpu")
        self._targets: list[_Target] = []
        self._copies: dict[torch.device, DeviceCopies] = {}
        self._early: frozenset[int] = frozenset()

    def snapshot(
        self,
        state: dict[str, Any],
        *,
        borrow: bool = False,
        fence: StateFence | None = None,
        early: frozenset[int] = frozenset(),
    ) -> Snapshot:
        """Copy a state; training may change it at once.

        On CUDA this only queues the copy. Without a `fence`, everything that is queued there later
        waits for all of it; with one, only what waits at the fence does.

        Args:
            borrow: do not copy what is in host memory already: for a caller that changes
                nothing until the snapshot has been written.
            early: addresses of the storages that change without waiting at the fence. They are
                copied first, and everything that is queued later waits for these copies.

        Raises:
            UnsavableStateError: a value that would not load back, named by its key.
        """
        # buffers made in inference mode could not be filled outside of it
        with torch.inference_mode(False), torch.no_grad():
            try:
                return _borrowed(state) if borrow else self._snapshot_as_before(state, fence, early)
            except _OtherState:
                if not borrow:
                    self._targets = []
            return self._snapshot_anew(state, fence, early, borrow=borrow)

    def _snapshot_anew(
        self,
        state: dict[str, Any],
        fence: StateFence | None,
        early: frozenset[int],
        *,
        borrow: bool,
    ) -> Snapshot:
        tensors: list[torch.Tensor] = []

        def collect(tensor: torch.Tensor) -> torch.Tensor:
            tensors.append(tensor.detach().resolve_conj().resolve_neg())
            return tensor

        map_tensors(state, collect)
        spans = spans_of(tensors)
        copying = self._fill(
            [span for span in spans.values() if not (borrow and span.is_whole)], fence, early
        )
        copies = [
            over(spans[key_of(tensor)], tensor) if tensor.numel() else empty_like(tensor)
            for tensor in tensors
        ]
        if not borrow:
            self._keep_targets(tensors, copies, spans, early)
        following = iter(copies)
        return Snapshot(map_tensors(state, lambda _: next(following)), copying, tensors)

    def _snapshot_as_before(
        self, state: dict[str, Any], fence: StateFence | None, early: frozenset[int]
    ) -> Snapshot:
        """Copy, in one pass, a state whose tensors are where they were at the last snapshot.

        Raises:
            _OtherState: they are not there, or are of types that torch cannot copy.
        """
        if early != self._early:
            raise _OtherState
        following = iter(self._targets)
        sources: list[tuple[_Target, torch.Tensor]] = []

        def copied(tensor: torch.Tensor) -> torch.Tensor:
            target = next(following, None)
            if target is None or target.source != _signature(tensor):
                raise _OtherState
            if target.is_first:
                sources.append((target, tensor))
            return target.copy

        snapshot = map_tensors(state, copied)
        if next(following, None) is not None:
            raise _OtherState
        here = [pair for pair in sources if pair[1].device not in self._copies]
        try:
            if here:
                # one call: hundreds of small tensors cost more to ask for than to copy
                torch._foreach_copy_([target.copy for target, _ in here], [of for _, of in here])
            copying = []
            for device, copies in self._copies.items():
                there = [pair for pair in sources if pair[1].device == device]
                there.sort(key=lambda pair: pair[0].copy.data_ptr())
                count = sum(of.untyped_storage().data_ptr() in early for _, of in there)
                copying.append(_held(copies.start([of for _, of in there], count), fence))
        except NotImplementedError as error:
            # types of less than a byte
            raise _OtherState from error
        return Snapshot(snapshot, copying, [of for _, of in sources])

    def release(self) -> None:
        """Free the memory."""
        self._targets = []
        self._copies = {}
        self._arena = torch.empty(0, dtype=torch.uint8, device="cpu")

    def _keep_targets(
        self,
        tensors: list[torch.Tensor],
        copies: list[torch.Tensor],
        spans: dict[Key, Span],
        early: frozenset[int],
    ) -> None:
        """Remember where copies go; nothing, when tensors overlap or have gaps."""
        self._targets = _targets(tensors, copies, spans)
        self._early = early
        self._copies = {}
        firsts = [target.copy for target in self._targets if target.is_first]
        of = {id(copy): tensor.device for tensor, copy in zip(tensors, copies, strict=True)}
        for device in {device for device in of.values() if device.type in self._beside}:
            there = sorted(
                (copy for copy in firsts if of[id(copy)] == device), key=torch.Tensor.data_ptr
            )
            self._copies[device] = DeviceCopies(device, there, self._arena)

    def _fill(
        self, spans: list[Span], fence: StateFence | None, early: frozenset[int]
    ) -> list[Copying]:
        # the early ones of each device first, as its packs want them
        spans = sorted(
            spans, key=lambda span: (str(span.storage.device), span.storage.data_ptr() not in early)
        )
        offsets = []
        total = 0
        for span in spans:
            offsets.append(total)
            total += -(-span.bytes // ALIGNMENT) * ALIGNMENT
        pinned = any(span.storage.device.type == "cuda" for span in spans)
        if total > self._arena.nbytes or (pinned and not self._arena.is_pinned()):
            self.release()
            self._arena = torch.empty(total, dtype=torch.uint8, device="cpu", pin_memory=pinned)
        whole = self._arena.untyped_storage()
        there: dict[torch.device, list[Span]] = {}
        for span, offset in zip(spans, offsets, strict=True):
            # a storage of its own over part of the arena, as torch.load(mmap=True) makes them
            span.copy = whole[offset : offset + span.bytes]
            if span.storage.device.type in self._beside:
                there.setdefault(span.storage.device, []).append(span)
            else:
                as_bytes(span.copy, 0, span.bytes).copy_(span.source)
        copying = []
        for device, moved in there.items():
            targets = [
                as_bytes(span.copy, 0, span.bytes) for span in moved if span.copy is not None
            ]
            count = sum(span.storage.data_ptr() in early for span in moved)
            started = DeviceCopies(device, targets, self._arena).start(
                [span.source for span in moved], count
            )
            copying.append(_held(started, fence))
        return copying


def _held(started: tuple[Copying, Copying], fence: StateFence | None) -> Copying:
    """Make later work of the device wait for the copies as far as it must; returns all copies."""
    early, whole = started
    if fence is None:
        whole.hold_device()
    else:
        early.hold_device()
        fence.put_up(whole.hold_device)
    return whole


class _OtherState(Exception):
    """The state is not laid out as the one before."""


@dataclass(frozen=True)
class _Target:
    """Where a tensor's copy goes, as long as the tensor stays where it is.

    Attributes:
        is_first: False for a tensor that an earlier one is tied to, and for an empty one.
    """

    source: tuple[Any, ...]
    copy: torch.Tensor
    is_first: bool


def _borrowed(state: dict[str, Any]) -> Snapshot:
    """The state itself, if each of its tensors has a storage of its own in host memory.

    Raises:
        _OtherState: a tensor has none.
    """
    seen: set[int] = set()

    def plain(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type != "cpu" or tensor.is_conj() or tensor.is_neg():
            raise _OtherState
        if not tensor.numel():
            return empty_like(tensor)
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address in seen or storage.nbytes() != tensor.nbytes:
            raise _OtherState
        seen.add(address)
        return tensor.detach()

    return Snapshot(map_tensors(state, plain))


def _signature(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride()


def _targets(
    tensors: list[torch.Tensor], copies: list[torch.Tensor], spans: dict[Key, Span]
) -> list[_Target]:
    """The targets of plain tensors; none when one overlaps another or has gaps."""
    seen: set[tuple[Any, ...]] = set()
    targets = []
    for tensor, copy in zip(tensors, copies, strict=True):
        source = _signature(tensor)
        if tensor.numel() and spans[key_of(tensor)].bytes != tensor.nbytes:
            return []
        is_first = tensor.numel() > 0 and source not in seen
        targets.append(_Target(source, copy, is_first))
        seen.add(source)
    return targets

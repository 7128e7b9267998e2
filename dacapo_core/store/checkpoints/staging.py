"""Copying a state into host memory that is kept from save to save.

Fresh memory costs a page fault every 4 KiB, several times the copy itself; kept buffers cost
the copy alone. They are pinned, and filled on a side stream, when the state is on CUDA.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from dacapo_core.store.checkpoints.state_tree import map_tensors

_ALIGNMENT = 64


@dataclass
class Snapshot:
    """A state of CPU tensors that nobody changes any more.

    Attributes:
        state: as it was given, tensors replaced.
    """

    state: dict[str, Any]
    _copied: list[torch.cuda.Event] = field(default_factory=list)

    def settle(self) -> None:
        """Wait until the bytes have arrived from the devices."""
        for event in self._copied:
            event.synchronize()


class HostBuffers:
    """One snapshot's worth of host memory, made at the first save and grown when needed.

    A snapshot is valid until the next is taken.
    """

    def __init__(self) -> None:
        self._arena = torch.empty(0, dtype=torch.uint8, device="cpu")
        self._targets: list[_Target] = []

    def snapshot(self, state: dict[str, Any], *, borrow: bool = False) -> Snapshot:
        """Copy a state; training may change it at once.

        On CUDA this only queues the copy: kernels queued later wait for it on the device.

        Args:
            borrow: do not copy what is in host memory already: for a caller that changes
                nothing until the snapshot has been written.

        Raises:
            UnsavableStateError: a value that would not load back, named by its key.
        """
        # buffers made in inference mode could not be filled outside of it
        with torch.inference_mode(False), torch.no_grad():
            try:
                return _borrowed(state) if borrow else self._snapshot_as_before(state)
            except _OtherState:
                if not borrow:
                    self._targets = []
            return self._snapshot_anew(state, borrow=borrow)

    def _snapshot_anew(self, state: dict[str, Any], *, borrow: bool) -> Snapshot:
        tensors: list[torch.Tensor] = []

        def collect(tensor: torch.Tensor) -> torch.Tensor:
            tensors.append(tensor.detach().resolve_conj().resolve_neg())
            return tensor

        map_tensors(state, collect)
        spans = _spans(tensors)
        copied = self._fill([span for span in spans.values() if not (borrow and span.is_whole)])
        copies = [
            _over(spans[_key(tensor)], tensor) if tensor.numel() else _empty_like(tensor)
            for tensor in tensors
        ]
        if not borrow:
            self._targets = _targets(tensors, copies, spans)
        following = iter(copies)
        return Snapshot(map_tensors(state, lambda _: next(following)), copied)

    def _snapshot_as_before(self, state: dict[str, Any]) -> Snapshot:
        """One pass over a state whose tensors are where they were at the last snapshot.

        Raises:
            _OtherState: they are not, or are of types that torch cannot copy.
        """
        following = iter(self._targets)
        sources: list[torch.Tensor] = []
        copies: list[torch.Tensor] = []

        def copied(tensor: torch.Tensor) -> torch.Tensor:
            target = next(following, None)
            if target is None or target.source != _signature(tensor):
                raise _OtherState
            if target.is_first:
                sources.append(tensor)
                copies.append(target.copy)
            return target.copy

        snapshot = Snapshot(map_tensors(state, copied))
        if next(following, None) is not None:
            raise _OtherState
        if sources:
            try:
                # one call: hundreds of small tensors cost more to ask for than to copy
                torch._foreach_copy_(copies, sources)
            except NotImplementedError as error:
                # types of less than a byte
                raise _OtherState from error
        return snapshot

    def release(self) -> None:
        """Give the memory back."""
        self._targets = []
        self._arena = torch.empty(0, dtype=torch.uint8, device="cpu")

    def _fill(self, spans: list[_Span]) -> list[torch.cuda.Event]:
        offsets = []
        total = 0
        for span in spans:
            offsets.append(total)
            total += -(-span.bytes // _ALIGNMENT) * _ALIGNMENT
        devices = {span.storage.device for span in spans if span.storage.device.type == "cuda"}
        if total > self._arena.nbytes or (devices and not self._arena.is_pinned()):
            self.release()
            self._arena = torch.empty(
                total, dtype=torch.uint8, device="cpu", pin_memory=bool(devices)
            )
        whole = self._arena.untyped_storage()
        streams = {device: _side_stream(device) for device in devices}
        for span, offset in zip(spans, offsets, strict=True):
            # a storage of its own over part of the arena, as torch.load(mmap=True) makes them
            span.copy = whole[offset : offset + span.bytes]
            source = _as_bytes(span.storage, span.start, span.bytes)
            target = _as_bytes(span.copy, 0, span.bytes)
            stream = streams.get(span.storage.device)
            if stream is None:
                target.copy_(source)
            else:
                with torch.cuda.stream(stream):
                    target.copy_(source, non_blocking=True)
                source.record_stream(stream)
        events = []
        for device, stream in streams.items():
            event = stream.record_event()
            torch.cuda.current_stream(device).wait_event(event)
            events.append(event)
        return events


class _OtherState(Exception):
    """The state is not laid out as the one before."""


@dataclass(frozen=True)
class _Target:
    """Where a tensor's copy goes, as long as the tensor stays where it is.

    Attributes:
        is_first: False for a tensor that an earlier one is tied to.
    """

    source: tuple[Any, ...]
    copy: torch.Tensor
    is_first: bool


def _borrowed(state: dict[str, Any]) -> Snapshot:
    """The state itself, if each of its tensors has a storage to itself in host memory.

    Raises:
        _OtherState: one has not.
    """
    seen: set[int] = set()

    def plain(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type != "cpu" or tensor.is_conj() or tensor.is_neg():
            raise _OtherState
        if not tensor.numel():
            return _empty_like(tensor)
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address in seen or storage.nbytes() != tensor.nbytes:
            raise _OtherState
        seen.add(address)
        return tensor.detach()

    return Snapshot(map_tensors(state, plain))


def _signature(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _targets(
    tensors: list[torch.Tensor], copies: list[torch.Tensor], spans: dict[_Key, _Span]
) -> list[_Target]:
    """The targets of plain host tensors; none when one is on a device, overlaps or has gaps."""
    seen: set[tuple[Any, ...]] = set()
    targets = []
    for tensor, copy in zip(tensors, copies, strict=True):
        source = _signature(tensor)
        if tensor.device.type != "cpu" or (
            tensor.numel() and spans[_key(tensor)].bytes != tensor.nbytes
        ):
            return []
        targets.append(_Target(source, copy, source not in seen))
        seen.add(source)
    return targets


@dataclass
class _Span:
    """The bytes of a storage that its tensors of one dtype use, and their copy."""

    storage: torch.UntypedStorage
    start: int
    stop: int
    shared: bool = False
    copy: torch.UntypedStorage | None = None

    @property
    def bytes(self) -> int:
        return self.stop - self.start

    @property
    def is_whole(self) -> bool:
        """Whether the storage itself can be written in place of a copy."""
        return (
            self.storage.device.type == "cpu"
            and self.bytes == self.storage.nbytes()
            and not self.shared
        )


_Key = tuple[int, torch.device, torch.dtype]


def _key(tensor: torch.Tensor) -> _Key:
    return tensor.untyped_storage().data_ptr(), tensor.device, tensor.dtype


def _spans(tensors: list[torch.Tensor]) -> dict[_Key, _Span]:
    spans: dict[_Key, _Span] = {}
    dtypes: dict[tuple[int, torch.device], _Key] = {}
    for tensor in tensors:
        if not tensor.numel():
            continue
        start = int(tensor.storage_offset()) * tensor.itemsize
        last = sum(
            (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        )
        stop = start + (last + 1) * tensor.itemsize
        key = _key(tensor)
        span = spans.get(key)
        if span is None:
            first = dtypes.setdefault(key[:2], key)
            # torch cannot write one storage under two dtypes; each gets a copy
            if first != key:
                spans[first].shared = True
            spans[key] = _Span(tensor.untyped_storage(), start, stop, shared=first != key)
        else:
            span.start, span.stop = min(span.start, start), max(span.stop, stop)
            if tensor.untyped_storage().nbytes() > span.storage.nbytes():
                # two storages over one memory, as torch.from_numpy makes them
                span.storage = tensor.untyped_storage()
    return spans


def _over(span: _Span, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor again, over the copy of its storage."""
    offset = tensor.storage_offset() - (0 if span.copy is None else span.start // tensor.itemsize)
    storage = span.storage if span.copy is None else span.copy
    view = torch.empty(0, dtype=tensor.dtype, device="cpu")
    return view.set_(storage, offset, tensor.shape, tensor.stride())


def _empty_like(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")


def _as_bytes(storage: torch.UntypedStorage, start: int, size: int) -> torch.Tensor:
    view = torch.empty(0, dtype=torch.uint8, device=storage.device)
    return view.set_(storage, start, (size,), (1,))


def _side_stream(device: torch.device) -> torch.cuda.Stream:
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    return stream

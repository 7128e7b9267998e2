"""The spans of bytes of storages that a state's tensors use, and their copies."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class Span:
    """The bytes of a storage that its tensors of one dtype use, and their copy."""

    storage: torch.UntypedStorage
    start: int
    stop: int
    shared: bool = False
    copy: torch.UntypedStorage | None = None

    @property
    def bytes(self) -> int:
        """Its length in bytes."""
        return self.stop - self.start

    @property
    def source(self) -> torch.Tensor:
        """Its bytes, as a tensor."""
        return as_bytes(self.storage, self.start, self.bytes)

    @property
    def is_whole(self) -> bool:
        """Whether the storage itself can be written to a file in place of a copy."""
        return (
            self.storage.device.type == "cpu"
            and self.bytes == self.storage.nbytes()
            and not self.shared
        )


Key = tuple[int, torch.device, torch.dtype]


def key_of(tensor: torch.Tensor) -> Key:
    """Which span holds a tensor."""
    return tensor.untyped_storage().data_ptr(), tensor.device, tensor.dtype


def spans_of(tensors: list[torch.Tensor]) -> dict[Key, Span]:
    """The spans that tensors use, each once, in the order first met."""
    spans: dict[Key, Span] = {}
    dtypes: dict[tuple[int, torch.device], Key] = {}
    for tensor in tensors:
        if not tensor.numel():
            continue
        start = int(tensor.storage_offset()) * tensor.itemsize
        last = sum(
            (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        )
        stop = start + (last + 1) * tensor.itemsize
        key = key_of(tensor)
        span = spans.get(key)
        if span is None:
            first = dtypes.setdefault(key[:2], key)
            # torch cannot write one storage under two dtypes; each gets a copy
            if first != key:
                spans[first].shared = True
            spans[key] = Span(tensor.untyped_storage(), start, stop, shared=first != key)
        else:
            span.start, span.stop = min(span.start, start), max(span.stop, stop)
            if tensor.untyped_storage().nbytes() > span.storage.nbytes():
                # two storages over one memory, as torch.from_numpy makes them
                span.storage = tensor.untyped_storage()
    return spans


def over(span: Span, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor again, over the copy of its storage."""
    offset = tensor.storage_offset() - (0 if span.copy is None else span.start // tensor.itemsize)
    storage = span.storage if span.copy is None else span.copy
    view = torch.empty(0, dtype=tensor.dtype, device="cpu")
    return view.set_(storage, offset, tensor.shape, tensor.stride())


def empty_like(tensor: torch.Tensor) -> torch.Tensor:
    """An empty tensor again, in host memory."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")


def as_bytes(storage: torch.UntypedStorage, start: int, size: int) -> torch.Tensor:
    """A part of a storage as a tensor of bytes."""
    view = torch.empty(0, dtype=torch.uint8, device=storage.device)
    return view.set_(storage, start, (size,), (1,))

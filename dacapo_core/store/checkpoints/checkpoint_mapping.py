"""A checkpoint of ours, or some of its sections, mapped without unpickling anything.

Reads the end of the file (the zip's comment, then layout and table) and the tensors asked for, and
no others. torch's unpickler would go through all of it in Python.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from typing import Any

import torch

from dacapo_core.store.checkpoints.beside import Beside
from dacapo_core.store.checkpoints.checkpoint_index import (
    POINTER_BYTES,
    Layout,
    Pointer,
    Table,
    digest,
)
from dacapo_core.store.checkpoints.checkpoint_place import CheckpointPlace
from dacapo_core.store.checkpoints.state_json import decode
from dacapo_core.store.checkpoints.state_tree import tensors_of
from dacapo_core.store.checkpoints.storage_bytes import bytes_of
from dacapo_core.store.checkpoints.verification import compare_digests

# what a layout that somebody made up, with its right digest, may lead to
_MADE_UP = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError)

Fetch = Callable[[int, int], None]


def _nothing_to_fetch(start: int, stop: int) -> None:
    """The file is whole."""


def map_checkpoint(
    path: str,
    place: CheckpointPlace,
    section: str | None = None,
    *,
    verify: bool,
    fetch: Fetch = _nothing_to_fetch,
) -> dict[str, Any] | None:
    """A checkpoint's state; None when it must be read with torch.load.

    That is: DaCapo wrote the file, or its end is damaged, which torch.load and the verification
    will name.

    Args:
        section: only this one (``"model"``); the bytes of others are neither read nor verified.
        verify: compare what is read with its digests.
        fetch: called with the span of each part of the file before it is read.

    Raises:
        DamagedCheckpointError: bytes are not those that were written.
    """
    try:
        found = _end_of(path, fetch)
        if found is None:
            return None
        file = _MappedFile(path, *found)
        if section is None:
            fetch(0, file.table.body.place)
            return _mapped(file, place, verify=verify)
        state = file.sections([section])
        # no page of it has been looked at: what is written to the file now is seen
        fetch(*file.span())
    except _OutOfPlaceError:
        return None
    except _MADE_UP as error:
        raise place.damaged("is damaged", "a layout of format 1", repr(error)) from error
    if verify:
        file.verify_tensors(place, state)
    return state


class _OutOfPlaceError(Exception):
    """Layout and table do not fit each other, or the file."""


def _end_of(path: str, fetch: Fetch) -> tuple[Layout, Table] | None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        start = max(size - POINTER_BYTES, 0)
        fetch(start, size)
        at = Pointer.from_bytes(os.pread(descriptor, POINTER_BYTES, start))
        if at is None or not at.layout <= at.layout_stop <= at.table <= at.table_stop <= size:
            return None
        fetch(at.layout, at.table_stop)
        end = os.pread(descriptor, at.table_stop - at.layout, at.layout)
    finally:
        os.close(descriptor)
    content = end[: at.layout_stop - at.layout]
    table = Table.from_bytes(end[at.table - at.layout :])
    if table is None or digest(content) != table.layout.digest:
        return None
    layout = Layout.from_json(content)
    return (layout, table) if len(layout.sizes) == len(table.storages) else None


def _mapped(file: _MappedFile, place: CheckpointPlace, *, verify: bool) -> dict[str, Any]:
    if not verify:
        return file.sections(file.layout.structure)
    body = file.table.body
    # it lets go of the interpreter, for the containers and tensors that are made meanwhile
    found = Beside(lambda: digest(file.bytes[: body.place]))
    state = file.sections(file.layout.structure)
    if found.result() != body.digest:
        head = file.table.head
        compare_digests(place, "head", head.digest, digest(file.bytes[: head.place]))
        file.verify_tensors(place, state)
        compare_digests(place, "body", body.digest, found.result())
    return state


class _MappedFile:
    """A file in memory, private to this process, and the tensors made from it so far."""

    def __init__(self, path: str, layout: Layout, table: Table) -> None:
        self.layout = layout
        self.table = table
        self._whole: torch.UntypedStorage = torch.UntypedStorage.from_file(
            path, False, os.path.getsize(path)
        )  # type: ignore[assignment]
        self.bytes = bytes_of(self._whole)
        self._storages: dict[int, torch.UntypedStorage] = {}

    def sections(self, names: Collection[str]) -> dict[str, Any]:
        return {name: decode(self.layout.structure[name], self._tensor) for name in names}

    def span(self) -> tuple[int, int]:
        """From the first to the last byte of the tensors made so far."""
        spans = [(self.table.storages[n].place, self.layout.sizes[n]) for n in self._storages]
        start = min((start for start, _ in spans), default=0)
        return start, max((start + size for start, size in spans), default=start)

    def verify_tensors(self, place: CheckpointPlace, state: dict[str, Any]) -> None:
        """
        Raises:
            DamagedCheckpointError: naming the first tensor of those made so far.
        """
        for number, storage in self._storages.items():
            expected, found = self.table.storages[number].digest, digest(bytes_of(storage))
            if expected != found:
                name = next(
                    "/".join(map(str, path))
                    for path, tensor in tensors_of(state)
                    if tensor.untyped_storage().data_ptr() == storage.data_ptr()
                )
                compare_digests(place, f"tensor {name}", expected, found)

    def _tensor(self, number: int) -> torch.Tensor:
        name, shape, stride, storage, offset = self.layout.tensors[number]
        dtype = getattr(torch, name)
        if storage < 0:
            if math.prod(shape):
                raise _OutOfPlaceError
            return torch.empty(shape, dtype=dtype)
        last = sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        if (
            min(offset, *shape, *stride, 0) < 0
            or (offset + last + 1) * dtype.itemsize > self.layout.sizes[storage]
            or not math.prod(shape)
        ):
            raise _OutOfPlaceError
        return torch.empty(0, dtype=dtype).set_(self._storage(storage), offset, shape, stride)

    def _storage(self, number: int) -> torch.UntypedStorage:
        storage = self._storages.get(number)
        if storage is None:
            start, size = self.table.storages[number].place, self.layout.sizes[number]
            if size <= 0 or start + size > len(self.bytes):
                raise _OutOfPlaceError
            storage = self._storages[number] = self._whole[start : start + size]
        return storage

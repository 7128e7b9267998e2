"""A checkpoint of ours, or some of its sections, mapped without unpickling anything.

Reads the end of the file (the zip's comment, then layout and table) and the tensors asked for, and
no others. torch's unpickler would go through all of it in Python.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch

from dacapo_core.store.checkpoint_format.checkpoint_id import CheckpointId
from dacapo_core.store.checkpoint_format.checkpoint_index import (
    EMPTY,
    POINTER_BYTES,
    Layout,
    Pointer,
    Row,
    Table,
    digest,
)
from dacapo_core.store.checkpoint_format.savable_state import tensors_of
from dacapo_core.store.checkpoint_format.state_dict_json import DTYPES, decode
from dacapo_core.store.checkpoint_format.storage_bytes import bytes_of, mapped_storage
from dacapo_core.store.checkpoint_format.verification import compare_digests
from dacapo_core.store.saving.background_job import Beside

# what a layout that somebody made up may lead to, its digest being right
_MADE_UP = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError)

Fetch = Callable[[int, int], None]


def _nothing_to_fetch(start: int, stop: int) -> None:
    """The file is whole."""


def map_checkpoint(
    path: str,
    place: CheckpointId,
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
    found = _end_of(path, fetch)
    if found is None:
        return None
    layout, table = found
    file = _MappedFile(path, place, layout, table)
    if section is None:
        fetch(0, table.body.place)
        return _whole(file, place, verify=verify)
    state = file.sections([section])
    if state is None:
        return None
    # no page of it has been looked at: what is written to the file now is seen
    fetch(*file.span())
    if verify:
        file.verify_tensors(place, state)
    return state


def mapped_parts(path: str, place: CheckpointId) -> tuple[dict[str, Any], int, Row] | None:
    """A checkpoint's state, mapped and not verified; where its file begins in memory; its body.

    None when it must be read with torch.load, as `map_checkpoint` says.
    """
    found = _end_of(path, _nothing_to_fetch)
    if found is None:
        return None
    file = _MappedFile(path, place, *found)
    state = file.sections()
    return None if state is None else (state, file.address, file.table.body)


def _end_of(path: str, fetch: Fetch) -> tuple[bytes, Table] | None:
    """The layout, as it is in the file, and the table."""
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
    layout, rows = end[: at.layout_stop - at.layout], end[at.table - at.layout :]
    table = Table.from_bytes(rows)
    if table is None or digest(rows) != at.table_digest or digest(layout) != table.layout.digest:
        return None
    return (layout, table) if table.body.place <= at.layout else None


def _whole(file: _MappedFile, place: CheckpointId, *, verify: bool) -> dict[str, Any] | None:
    if not verify:
        return file.sections()
    pickle, body = file.table.pickle, file.table.body
    # it lets go of the interpreter, for the containers and tensors that are made meanwhile
    found = Beside(lambda: digest(file.bytes[: body.place]))
    state = file.sections()
    if state is not None and found.result() != body.digest:
        file.verify_tensors(place, state)
        pickled = file.bytes[pickle.place : body.place]
        compare_digests(place, "pickle", pickle.digest, digest(pickled))
        compare_digests(place, "body", body.digest, found.result())
    return state


class _MappedFile:
    """A file in memory, private to this process, and the tensors made from it so far."""

    def __init__(self, path: str, place: CheckpointId, layout: bytes, table: Table) -> None:
        self.table = table
        self._layout_in_file = layout
        self._whole = mapped_storage(path, place)
        self.bytes = bytes_of(self._whole)
        self._storages: dict[int, torch.UntypedStorage] = {}

    @property
    def address(self) -> int:
        return self._whole.data_ptr()

    def sections(self, names: Collection[str] | None = None) -> dict[str, Any] | None:
        """The state, or some of its sections; None when the layout does not make sense."""
        try:
            self._layout = Layout.from_json(self._layout_in_file)
            structure = self._layout.structure
            state = {
                name: decode(structure[name], self._tensor)
                for name in (structure if names is None else names)
            }
        except _MADE_UP:
            return None
        wanted = ("model", "optimizer") if names is None else names
        return state if all(isinstance(state.get(n), Mapping) for n in wanted) else None

    def span(self) -> tuple[int, int]:
        """From the first to the last byte of the tensors made so far."""
        spans = [(self.table.storages[n].place, self._layout.sizes[n]) for n in self._storages]
        start = min((start for start, _ in spans), default=0)
        return start, max((start + size for start, size in spans), default=start)

    def verify_tensors(self, place: CheckpointId, state: dict[str, Any]) -> None:
        """
        Raises:
            DamagedCheckpointError: naming the first tensor of those made so far.
        """
        for number, storage in self._storages.items():
            expected, found = self.table.storages[number].digest, digest(bytes_of(storage))
            if expected != found:
                names = (
                    "/".join(map(str, path))
                    for path, tensor in tensors_of(state)
                    if tensor.untyped_storage().data_ptr() == storage.data_ptr()
                )
                compare_digests(place, f"tensor {next(names, number)}", expected, found)

    def _tensor(self, number: int) -> torch.Tensor:
        name, shape, stride, storage, offset = self._layout.tensors[number]
        dtype = DTYPES[name]
        if min(offset, *shape, *stride, 0) < 0:
            raise ValueError(f"a tensor of shape {shape} at {offset}, stride {stride}")
        count = math.prod(shape)
        if storage == EMPTY and count == 0:
            return torch.empty(shape, dtype=dtype, device="cpu")
        last = offset
        for length, step in zip(shape, stride, strict=True):
            last += (length - 1) * step
        if count == 0 or (last + 1) * dtype.itemsize > self._layout.sizes[storage]:
            raise ValueError("a tensor outside its storage")
        empty = torch.empty(0, dtype=dtype, device="cpu")
        return empty.set_(self._storage(storage), offset, shape, stride)

    def _storage(self, number: int) -> torch.UntypedStorage:
        storage = self._storages.get(number)
        if storage is None:
            if number < 0:
                raise ValueError("a storage before the first")
            start, size = self.table.storages[number].place, self._layout.sizes[number]
            if size <= 0 or start + size > len(self.bytes):
                raise ValueError("a storage outside the file")
            storage = self._storages[number] = self._whole[start : start + size]
        return storage

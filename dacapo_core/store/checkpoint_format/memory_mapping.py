"""Mapping a checkpoint, or some of its sections, into memory without unpickling anything.

Reads the end of the file (the zip's comment, then layout and table) and only those tensors that
are asked for. torch's unpickler would go through the whole state in Python.
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
from dacapo_core.store.saving.background_job import BackgroundJob

# what a forged layout, whose digest is right, may raise
_FORGED = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError)

Fetch = Callable[[int, int], None]


def _nothing_to_fetch(start: int, stop: int) -> None:
    """The file is whole."""


def map_checkpoint(
    path: str,
    checkpoint: CheckpointId,
    section: str | None = None,
    *,
    verify: bool,
    fetch: Fetch = _nothing_to_fetch,
) -> dict[str, Any] | None:
    """A checkpoint's state; None when it must be read with torch.load.

    It must be when DaCapo wrote the file, or when its end is damaged: torch.load or the
    verification then say how.

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
    file = _MappedFile(path, checkpoint, layout, table)
    if section is None:
        fetch(0, table.body.offset)
        return _whole(file, checkpoint, verify=verify)
    state = file.sections([section])
    if state is None:
        return None
    # no page of the map has been read yet, so it shows what is fetched into the file now
    fetch(*file.span())
    if verify:
        file.verify_tensors(checkpoint, state)
    return state


def mapped_parts(path: str, checkpoint: CheckpointId) -> tuple[dict[str, Any], int, Row] | None:
    """A checkpoint's state, mapped and not verified; the address of the mapped file; its body.

    None when it must be read with torch.load, as `map_checkpoint`.
    """
    found = _end_of(path, _nothing_to_fetch)
    if found is None:
        return None
    file = _MappedFile(path, checkpoint, *found)
    state = file.sections()
    return None if state is None else (state, file.address, file.table.body)


def _end_of(path: str, fetch: Fetch) -> tuple[bytes, Table] | None:
    """The layout, as bytes of the file, and the table; None where either is damaged."""
    descriptor = os.open(path, os.O_RDONLY)

    def read(start: int, stop: int) -> bytes:
        fetch(start, stop)
        return os.pread(descriptor, stop - start, start)

    try:
        at = Pointer.read(read, os.fstat(descriptor).st_size)
        if at is None:
            return None
        end = read(at.layout, at.table_stop)
    finally:
        os.close(descriptor)
    layout, rows = end[: at.layout_stop - at.layout], end[at.table - at.layout :]
    table = Table.from_bytes(rows)
    if table is None or digest(rows) != at.table_digest or digest(layout) != table.layout.digest:
        return None
    return (layout, table) if table.body.offset <= at.layout else None


def _whole(file: _MappedFile, checkpoint: CheckpointId, *, verify: bool) -> dict[str, Any] | None:
    if not verify:
        return file.sections()
    pickle, body = file.table.pickle, file.table.body
    # the digest releases the interpreter, for the containers and tensors that are made meanwhile
    found = BackgroundJob(lambda: digest(file.bytes[: body.offset]))
    state = file.sections()
    if state is not None and found.result() != body.digest:
        file.verify_tensors(checkpoint, state)
        pickled = file.bytes[pickle.offset : body.offset]
        compare_digests(checkpoint, "pickle", pickle.digest, digest(pickled))
        compare_digests(checkpoint, "body", body.digest, found.result())
    return state


class _MappedFile:
    """A file mapped into memory, private to this process, and the tensors made from it so far."""

    def __init__(self, path: str, checkpoint: CheckpointId, layout: bytes, table: Table) -> None:
        self.table = table
        self._layout_in_file = layout
        self._whole = mapped_storage(path, checkpoint)
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
        except _FORGED:
            return None
        wanted = ("model", "optimizer") if names is None else names
        return state if all(isinstance(state.get(n), Mapping) for n in wanted) else None

    def span(self) -> tuple[int, int]:
        """From the first to the last byte of the tensors made so far."""
        spans = [(self.table.storages[n].offset, self._layout.sizes[n]) for n in self._storages]
        start = min((start for start, _ in spans), default=0)
        return start, max((start + size for start, size in spans), default=start)

    def verify_tensors(self, checkpoint: CheckpointId, state: dict[str, Any]) -> None:
        """Compare the tensors made so far with their digests.

        Raises:
            DamagedCheckpointError: naming the first that differs.
        """
        for number, storage in self._storages.items():
            expected, found = self.table.storages[number].digest, digest(bytes_of(storage))
            if expected != found:
                names = (
                    "/".join(map(str, path))
                    for path, tensor in tensors_of(state)
                    if tensor.untyped_storage().data_ptr() == storage.data_ptr()
                )
                compare_digests(checkpoint, f"tensor {next(names, number)}", expected, found)

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
            start, size = self.table.storages[number].offset, self._layout.sizes[number]
            if size <= 0 or start + size > len(self.bytes):
                raise ValueError("a storage outside the file")
            storage = self._storages[number] = self._whole[start : start + size]
        return storage

"""Whether a checkpoint's bytes are those that were written."""

from __future__ import annotations

import os
from typing import Any

import torch
import xxhash

from dacapo_core.store.checkpoint_format.checkpoint_id import CheckpointId
from dacapo_core.store.checkpoint_format.checkpoint_index import (
    POINTER_BYTES,
    CheckpointIndex,
    Pointer,
    described,
    digest,
)
from dacapo_core.store.checkpoint_format.safe_loading import LoadedCheckpoint
from dacapo_core.store.checkpoint_format.savable_state import storages_of
from dacapo_core.store.checkpoint_format.storage_bytes import bytes_of, is_the_machines
from dacapo_core.store.checkpoint_format.zip_checksums import WrongZip, check_storages
from dacapo_core.store.records.checkpoint_record import CheckpointRecord

_CHUNK = 1 << 20


def verify_loaded(
    path: str, place: CheckpointId, loaded: LoadedCheckpoint, section: str | None = None
) -> None:
    """Compare what was loaded with its digests; without any, with its zip's checksums.

    Args:
        path: local path of the file.
        section: only this one (``"model"``); the bytes of others are not read.

    Raises:
        DamagedCheckpointError: naming what was expected and found.
    """
    read = loaded.state if section is None else loaded.state[section]
    if loaded.index is None:
        _verify_checksums(path, place, storages_of(read))
    else:
        _verify_digests(path, place, loaded.state, loaded.index, storages_of(read))


def verify_file(path: str, place: CheckpointId, record: CheckpointRecord) -> None:
    """Compare a whole file with its record.

    Raises:
        DamagedCheckpointError: naming what was expected and found.
    """
    whole = xxhash.xxh3_128()
    size = 0
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_CHUNK):
            whole.update(piece)
            size += len(piece)
    if size != record.bytes:
        raise place.damaged("is damaged", f"{record.bytes} bytes", f"{size} bytes")
    if whole.hexdigest() != record.digest:
        raise place.damaged("is damaged", f"digest {record.digest}", whole.hexdigest())


def _verify_digests(
    path: str,
    place: CheckpointId,
    state: dict[str, Any],
    index: CheckpointIndex,
    read: list[torch.UntypedStorage],
) -> None:
    table = index.rows
    if table is None:
        raise place.damaged("is damaged", "a table of digests", "another")
    layout = index.layout.numpy().tobytes()
    compare_digests(place, "layout", table.layout.digest, digest(layout))
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - POINTER_BYTES, 0))
        end = Pointer.from_bytes(file.read())
        if end is None or not table.pickle.place <= table.body.place <= size:
            raise place.damaged("is damaged", "the end of its file", "another")
        compare_digests(place, "table", end.table_digest, digest(index.table.numpy().tobytes()))
        file.seek(table.pickle.place)
        pickled = file.read(table.body.place - table.pickle.place)
        compare_digests(place, "pickle", table.pickle.digest, digest(pickled))
    storages = storages_of(state)
    if len(table.storages) != len(storages):
        raise place.damaged("is damaged", f"digests of {len(storages)} storages", "others")
    if _described(state) != layout:
        raise place.damaged("is damaged", "the tensors of its index", "others")
    rows = dict(zip((s.data_ptr() for s in storages), table.storages, strict=True))
    for number, storage in enumerate(read):
        expected = rows[storage.data_ptr()].digest
        compare_digests(place, f"tensor data {number}", expected, digest(bytes_of(storage)))


def _described(state: dict[str, Any]) -> bytes | None:
    """None for what no state of ours has, in a checkpoint that somebody made up."""
    try:
        return described(state)
    except (TypeError, LookupError, ValueError):
        return None


def compare_digests(place: CheckpointId, what: str, expected: bytes, found: bytes) -> None:
    """
    Raises:
        DamagedCheckpointError: they differ.
    """
    if found != expected:
        raise place.damaged(f"is damaged in its {what}", f"digest {expected.hex()}", found.hex())


def _verify_checksums(path: str, place: CheckpointId, read: list[torch.UntypedStorage]) -> None:
    try:
        check_storages(path, read)
    except WrongZip as wrong:
        raise place.damaged("is damaged", wrong.expected, wrong.found) from None
    except Exception as error:
        if is_the_machines(error):
            raise
        # zipfile has an error of another kind for each field that makes no sense
        raise place.damaged("is damaged", "its zip's checksums", repr(error)) from error

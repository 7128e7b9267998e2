"""Whether a checkpoint's bytes are those that were written, by its digests, record or checksums."""

from __future__ import annotations

import os
import zipfile
from typing import Any

import torch
import xxhash

from dacapo_core.store.checkpoint_format import torch_zip
from dacapo_core.store.checkpoint_format.checkpoint_id import CheckpointId
from dacapo_core.store.checkpoint_format.checkpoint_index import (
    POINTER_BYTES,
    CheckpointIndex,
    Pointer,
    digest,
    layout_bytes,
)
from dacapo_core.store.checkpoint_format.safe_loading import LoadedCheckpoint
from dacapo_core.store.checkpoint_format.savable_state import storages_of
from dacapo_core.store.checkpoint_format.storage_bytes import (
    bytes_of,
    is_machine_error,
    mapped_storage,
)
from dacapo_core.store.checkpoint_format.zip_checksums import WrongZip, check_storages
from dacapo_core.store.records.checkpoint_record import CheckpointRecord

_CHUNK = 1 << 20


def verify_loaded(
    path: str, checkpoint: CheckpointId, loaded: LoadedCheckpoint, section: str | None = None
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
        _verify_checksums(path, checkpoint, storages_of(read))
    else:
        _verify_digests(path, checkpoint, loaded.state, loaded.index, storages_of(read))


def verify_file(path: str, checkpoint: CheckpointId, record: CheckpointRecord) -> None:
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
        raise checkpoint.damaged(f"{record.bytes} bytes", f"{size} bytes")
    if whole.hexdigest() != record.digest:
        raise checkpoint.damaged(f"digest {record.digest}", whole.hexdigest())


def is_as_written(path: str, checkpoint: CheckpointId, index: CheckpointIndex) -> bool:
    """Whether each byte of a file is one that we would write; needs no record.

    The index, which must have been verified, has the digest of the body; the few bytes around it
    and the zip's directory follow from the rest. False too for a file of another version whose
    headers differ.
    """
    table = index.rows
    whole = mapped_storage(path, checkpoint)
    content = bytes_of(whole)
    try:
        if table is None or digest(content[: table.body.offset]) != table.body.digest:
            return False
        entries = _entries(path, content)
        if entries is None:
            return False
        layout, rows = entries[-2:]
        if layout.start != table.body.offset:
            return False
        pointer = Pointer(
            layout.offset, layout.stop, rows.offset, rows.stop, digest(index.table.numpy())
        )
        end = torch_zip.directory(entries, pointer.to_bytes())
        return bytes(content[rows.stop :]) == end
    except Exception as error:
        if is_machine_error(error):
            raise
        # zipfile has an error of another kind for each field that makes no sense
        return False


def _entries(path: str, content: memoryview) -> list[torch_zip.Entry] | None:
    """The file's entries, one behind the other; None where a header is not as we write it."""
    entries: list[torch_zip.Entry] = []
    stop = 0
    with zipfile.ZipFile(path) as archive:
        for found in archive.infolist():
            offset = torch_zip.content_offset(stop, content[stop:])
            name = found.filename.partition("/")[2]
            entry = torch_zip.entry_at(stop, name, content[offset : offset + found.file_size])
            if bytes(content[stop:offset]) != entry.header:
                return None
            entries.append(entry)
            stop = entry.stop
    return entries


def _verify_digests(
    path: str,
    checkpoint: CheckpointId,
    state: dict[str, Any],
    index: CheckpointIndex,
    read: list[torch.UntypedStorage],
) -> None:
    table = index.rows
    if table is None:
        raise checkpoint.damaged("a table of digests", "another")
    layout = index.layout.numpy().tobytes()
    compare_digests(checkpoint, "layout", table.layout.digest, digest(layout))
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - POINTER_BYTES, 0))
        end = Pointer.from_bytes(file.read())
        if end is None or not table.pickle.offset <= table.body.offset <= size:
            raise checkpoint.damaged("the end of its file", "another")
        compare_digests(
            checkpoint, "table", end.table_digest, digest(index.table.numpy().tobytes())
        )
        file.seek(table.pickle.offset)
        pickled = file.read(table.body.offset - table.pickle.offset)
        compare_digests(checkpoint, "pickle", table.pickle.digest, digest(pickled))
    storages = storages_of(state)
    if len(table.storages) != len(storages):
        raise checkpoint.damaged(f"digests of {len(storages)} storages", "others")
    if _layout_bytes(state) != layout:
        raise checkpoint.damaged("the tensors of its index", "others")
    rows = dict(zip((s.data_ptr() for s in storages), table.storages, strict=True))
    for number, storage in enumerate(read):
        expected = rows[storage.data_ptr()].digest
        compare_digests(checkpoint, f"tensor data {number}", expected, digest(bytes_of(storage)))


def _layout_bytes(state: dict[str, Any]) -> bytes | None:
    """The layout of a state; None for a state that we would not write."""
    try:
        return layout_bytes(state)
    except (TypeError, LookupError, ValueError):
        return None


def compare_digests(checkpoint: CheckpointId, what: str, expected: bytes, found: bytes) -> None:
    """
    Raises:
        DamagedCheckpointError: they differ.
    """
    if found != expected:
        problem = f"is damaged in its {what}"
        raise checkpoint.damaged(f"digest {expected.hex()}", found.hex(), problem)


def _verify_checksums(
    path: str, checkpoint: CheckpointId, read: list[torch.UntypedStorage]
) -> None:
    try:
        check_storages(path, read)
    except WrongZip as wrong:
        raise checkpoint.damaged(wrong.expected, wrong.found) from None
    except Exception as error:
        if is_machine_error(error):
            raise
        # zipfile has an error of another kind for each field that makes no sense
        raise checkpoint.damaged("its zip's checksums", repr(error)) from error

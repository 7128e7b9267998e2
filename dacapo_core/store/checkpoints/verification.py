"""Whether a checkpoint's bytes are those that were written."""

from __future__ import annotations

import ctypes
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import torch
import xxhash

from dacapo_core.store.checkpoints.checkpoint_index import CheckpointIndex, described, digest
from dacapo_core.store.checkpoints.checkpoint_place import CheckpointPlace
from dacapo_core.store.checkpoints.checkpoint_record import CheckpointRecord
from dacapo_core.store.checkpoints.safe_loading import LoadedCheckpoint
from dacapo_core.store.checkpoints.state_tree import storages_of

_CHUNK = 1 << 20


def verify_loaded(
    path: str, place: CheckpointPlace, loaded: LoadedCheckpoint, sections: Iterable[str] = ()
) -> None:
    """Compare what was loaded with its digests; without any, with its zip's checksums.

    Args:
        path: local path of the file.
        sections: only these (``"model"``); the bytes of others are not read. Empty: all.

    Raises:
        DamagedCheckpointError: naming what was expected and found.
    """
    read = {name: loaded.state[name] for name in sections} or loaded.state
    if loaded.index is None:
        _verify_checksums(path, place, storages_of(read))
    else:
        _verify_digests(path, place, loaded.state, loaded.index, storages_of(read))


def verify_file(path: str, place: CheckpointPlace, record: CheckpointRecord) -> None:
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
    place: CheckpointPlace,
    state: dict[str, Any],
    index: CheckpointIndex,
    read: list[torch.UntypedStorage],
) -> None:
    storages = storages_of(state)
    rows = index.rows
    if len(rows) != len(storages) + 2 or described(state) != index.layout.numpy().tobytes():
        raise place.damaged(
            "is damaged", f"the {len(rows) - 2} storages of its index", f"{len(storages)} others"
        )
    with open(path, "rb") as file:
        compare_digests(place, "head", rows.digest(0), digest(file.read(rows.offset(0))))
    numbers = {storage.data_ptr(): row for row, storage in enumerate(storages, start=1)}
    for storage in read:
        row = numbers[storage.data_ptr()]
        compare_digests(
            place, f"tensor data {row - 1}", rows.digest(row), digest(bytes_of(storage))
        )


def compare_digests(place: CheckpointPlace, what: str, expected: str, found: str) -> None:
    """
    Raises:
        DamagedCheckpointError: they differ.
    """
    if found != expected:
        raise place.damaged(f"is damaged in its {what}", f"digest {expected}", found)


def _verify_checksums(path: str, place: CheckpointPlace, read: list[torch.UntypedStorage]) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        known: dict[int, set[int]] = {}
        for entry in entries:
            known.setdefault(entry.file_size, set()).add(entry.CRC)
        try:
            for entry in entries:
                # zero: written without checksums
                if "/data/" not in entry.filename and entry.CRC:
                    archive.read(entry)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise place.damaged("is damaged", "its zip's checksums", str(error)) from error
    for storage in read:
        expected = known.get(storage.nbytes(), set())
        if expected == {0}:
            continue
        found = zlib.crc32(bytes_of(storage))
        if found not in expected:
            raise place.damaged(
                "is damaged",
                f"a tensor of {storage.nbytes()} bytes with checksum "
                + " or ".join(f"{crc:08x}" for crc in sorted(expected)),
                f"{found:08x}",
            )


def bytes_of(storage: torch.UntypedStorage) -> Any:
    """The memory of a storage, without a copy."""
    return (ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())

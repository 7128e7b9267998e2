"""Whether a record is about the checkpoint that is there now, or about one that was replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from dacapo_core.store import layout
from dacapo_core.store.errors import NotAFileError
from dacapo_core.store.filesystems.file_info import FileInfo
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.plan import StoredCheckpoint
from dacapo_core.store.records.checkpoint_identity import (
    AWAITED,
    UNKNOWN,
    CheckpointIdentity,
    is_same_file,
)
from dacapo_core.store.records.checkpoint_record import CheckpointRecord

_AT_ONCE = 8
_Seen = tuple[str, int, int, datetime, int | str | None]
# a file that is as it was has the nonce that it had
_nonces: WeakKeyDictionary[StoreFilesystem, dict[_Seen, str | None]] = WeakKeyDictionary()


def are_of_present(
    filesystem: StoreFilesystem,
    run: str,
    there: Mapping[int, StoredCheckpoint],
    facts: Sequence[tuple[int, CheckpointIdentity | None]],
) -> list[bool]:
    """Whether each record, given as (iteration, file it names), is about the checkpoint there.

    True also for a record that names no file, and where no checkpoint is there.
    No request unless a listing shows another file than the one that a record names.
    """
    doubtful = {
        iteration: there[iteration]
        for iteration, of in facts
        if of is not None
        and of.nonce != AWAITED
        and iteration in there
        and not _is_of(of, there[iteration])
    }
    nonces = _nonces_of(filesystem, run, doubtful) if doubtful else {}
    return [
        of is None
        or of.nonce == AWAITED
        or iteration not in doubtful
        or _is_of(of, there[iteration])
        or of.nonce == nonces[iteration]
        for iteration, of in facts
    ]


def identify(
    filesystem: StoreFilesystem, run: str, iteration: int, file: FileInfo
) -> CheckpointIdentity:
    """The identity of a checkpoint's file, as listed a moment ago."""
    seen = {iteration: seen_as(iteration, file)}
    nonce = _nonces_of(filesystem, run, seen)[iteration]
    return identity_of(file, nonce)


def identity_of(file: FileInfo, nonce: str | None) -> CheckpointIdentity:
    """The identity of a file whose nonce is known."""
    return CheckpointIdentity(
        nonce=nonce, size=file.size, modified=file.modified, version=file.version
    )


def seen_as(iteration: int, file: FileInfo) -> StoredCheckpoint:
    """A checkpoint's file as a listing of the run's checkpoints shows it."""
    stored = datetime.fromtimestamp(file.modified, UTC)
    return StoredCheckpoint(iteration, file.size, stored, version=file.version)


def _is_of(of: CheckpointIdentity, seen: StoredCheckpoint) -> bool:
    return of.is_file(seen.size, seen.stored, seen.version)


def _nonces_of(
    filesystem: StoreFilesystem, run: str, seen: Mapping[int, StoredCheckpoint]
) -> dict[int, str | None]:
    """From the checkpoint records of these very files, else from the files themselves."""
    known = _nonces.setdefault(filesystem, {})
    keys = {i: (run, i, each.size, each.stored, each.version) for i, each in seen.items()}
    unread = [i for i, key in keys.items() if key not in known]
    found = _recorded(filesystem, run, unread, seen)
    rest = [i for i in unread if i not in found]
    if filesystem.is_local or len(rest) < 2:
        found |= {i: _in_file(filesystem, run, i) for i in rest}
    else:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            read = pool.map(lambda i: _in_file(filesystem, run, i), rest)
            found |= dict(zip(rest, read, strict=True))
    known.update({keys[i]: nonce for i, nonce in found.items() if nonce != UNKNOWN})
    return {i: found[i] if i in found else known[key] for i, key in keys.items()}


def _recorded(
    filesystem: StoreFilesystem,
    run: str,
    iterations: Iterable[int],
    seen: Mapping[int, StoredCheckpoint],
) -> dict[int, str | None]:
    paths = {layout.CHECKPOINT_RECORDS.path(run, i): i for i in iterations}
    found: dict[int, str | None] = {}
    for path, content in filesystem.read_many(paths).items():
        try:
            record = CheckpointRecord.model_validate_json(content)
        except ValidationError:
            continue
        file = seen[paths[path]]
        if record.modified is None or record.iteration != file.iteration:
            continue
        # by the time locally: a store that was moved keeps its times, and not its inodes
        version = record.file_version if isinstance(record.file_version, str) else None
        stored = datetime.fromtimestamp(record.modified, UTC)
        listed = (file.size, file.stored, file.version)
        if is_same_file((record.bytes, stored, version), listed):
            found[paths[path]] = record.nonce
    return found


def _in_file(filesystem: StoreFilesystem, run: str, iteration: int) -> str | None:
    from dacapo_core.store.checkpoint_format.nonce import read_nonce  # it needs torch

    try:
        return read_nonce(filesystem, layout.checkpoint_path(run, iteration))
    except (FileNotFoundError, NotAFileError):
        return UNKNOWN

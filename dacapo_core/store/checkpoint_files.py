"""The checkpoints of a store: written, read, verified, each with its record."""

from __future__ import annotations

import getpass
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from pydantic import ValidationError

from dacapo_core.store import layout
from dacapo_core.store.checkpoint_format.checkpoint_id import CheckpointId
from dacapo_core.store.checkpoint_format.checkpoint_writing import write_checkpoint
from dacapo_core.store.checkpoint_format.device_loading import load_to_device
from dacapo_core.store.checkpoint_format.memory_mapping import map_checkpoint
from dacapo_core.store.checkpoint_format.own_format_check import is_as_written
from dacapo_core.store.checkpoint_format.safe_loading import load_checkpoint
from dacapo_core.store.checkpoint_format.verification import verify_file, verify_loaded
from dacapo_core.store.errors import (
    DamagedCheckpointError,
    MissingCheckpointError,
    NotAFileError,
)
from dacapo_core.store.filesystems.file_info import FileInfo
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.checkpoint_record import CheckpointRecord
from dacapo_core.version import __version__

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verification:
    """What a verification compared a checkpoint with.

    Attributes:
        against: ``digests`` (one of ours) or ``zip checksums`` (one of DaCapo's, which has none
            where it was written without).
        record: whether the whole file was compared with its record too, and is what it says.
        damaged_record: what is wrong with the record of a checkpoint that is whole.
    """

    run: str
    iteration: int
    bytes: int
    against: str
    record: bool
    damaged_record: str | None = None


def commit_checkpoint(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    state: dict[str, Any],
    before_commit: Callable[[], None],
) -> tuple[CheckpointRecord, FileInfo | None]:
    """Write a state of CPU tensors as a checkpoint, durably, then its record.

    The checkpoint verifies itself, so it stands when its record could not be written: that is
    logged, and no error.

    Args:
        before_commit: called just before the checkpoint becomes visible; an error from it
            leaves the store as it was.

    Returns:
        the record, and the file as it stands there; None: somebody deleted it already.
    """
    path = layout.checkpoint_path(run, iteration)
    with filesystem.replacing(path, before_commit) as file:
        written = write_checkpoint(state, file)
    stored = None
    with suppress(FileNotFoundError):
        stored = filesystem.file_info(path)
    record = CheckpointRecord(
        iteration=iteration,
        bytes=written.bytes,
        digest=written.digest,
        parts=written.parts,
        nonce=written.nonce,
        stored=datetime.now(UTC),
        torch=torch.__version__,
        version=__version__,
        by=_this_process(),
        modified=None if stored is None else stored.modified,
        file_version=None if stored is None else stored.version,
    )
    write_record(filesystem, run, record)
    return record, stored


def write_record(filesystem: StoreFilesystem, run: str, record: CheckpointRecord) -> None:
    """Write the record beside a checkpoint, which verifies itself and stands without one too."""
    path = layout.checkpoint_record_path(run, record.iteration)
    try:
        # not worth two more waits for the disk
        filesystem.write_bytes(path, record.model_dump_json().encode(), durable=False)
    except OSError as error:
        logger.warning(
            "checkpoint %d of run %r is stored, its record is not: %s", record.iteration, run, error
        )


def read_record(filesystem: StoreFilesystem, run: str, iteration: int) -> CheckpointRecord | None:
    """The record beside a checkpoint; None without one, or when it cannot be read.

    The checkpoint verifies itself: a damaged record is no reason to refuse it.
    """
    try:
        content = filesystem.read_bytes(layout.checkpoint_record_path(run, iteration))
        return CheckpointRecord.model_validate_json(content)
    except (FileNotFoundError, NotAFileError, ValidationError):
        return None


def read_checkpoint(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    *,
    verify: bool,
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Map a checkpoint's state into memory.

    Args:
        device: read model and optimizer straight there, if the checkpoint is one of ours.

    Raises:
        MissingCheckpointError: no such run or iteration.
        DamagedCheckpointError: its bytes are not those that were written.
        UnsafeCheckpointError: it asks for code to be run.
    """
    with _opened(filesystem, run, iteration) as (path, place):
        if device is None:
            state = map_checkpoint(path, place, verify=verify)
        else:
            state = load_to_device(path, place, device, verify=verify)
        return _loaded(path, place, verify=verify) if state is None else state


def read_model(
    filesystem: StoreFilesystem, run: str, iteration: int, *, verify: bool
) -> dict[str, Any]:
    """Map a checkpoint's model alone; verify exactly what is read.

    Raises:
        MissingCheckpointError: no such run or iteration.
        DamagedCheckpointError: its bytes are not those that were written.
        UnsafeCheckpointError: it asks for code to be run.
    """
    state = _fetched_model(filesystem, run, iteration, verify=verify)
    if state is None:
        with _opened(filesystem, run, iteration) as (path, place):
            state = map_checkpoint(path, place, "model", verify=verify)
            if state is None:
                state = _loaded(path, place, "model", verify=verify)
    model: dict[str, Any] = state["model"]
    return model


def _fetched_model(
    filesystem: StoreFilesystem, run: str, iteration: int, *, verify: bool
) -> dict[str, Any] | None:
    """The model, of a checkpoint of ours on an object store; no other bytes are fetched."""
    if filesystem.is_local:
        return None
    path = layout.checkpoint_path(run, iteration)
    place = CheckpointId(run, iteration, filesystem.url(path))
    with _said_what_there_is(filesystem, run, iteration), filesystem.sparse_copy(path) as copy:
        state = map_checkpoint(copy.path, place, "model", verify=verify, fetch=copy.fetch)
        return state if copy.is_of_one_version() else None


def _loaded(
    path: str, place: CheckpointId, section: str | None = None, *, verify: bool
) -> dict[str, Any]:
    loaded = load_checkpoint(path, place)
    if verify:
        verify_loaded(path, place, loaded, section)
    return loaded.state


def verify_checkpoint(filesystem: StoreFilesystem, run: str, iteration: int) -> Verification:
    """Read a whole checkpoint and compare it with its digests, its record or its zip's checksums.

    Raises:
        MissingCheckpointError: no such run or iteration.
        DamagedCheckpointError: its bytes are not those that were written.
        UnsafeCheckpointError: it asks for code to be run.
    """
    with _opened(filesystem, run, iteration) as (path, place):
        return _verification(filesystem, path, place)


@contextmanager
def verified_copy(filesystem: StoreFilesystem, run: str, iteration: int) -> Iterator[str]:
    """A local path of a checkpoint that verifies; raises as `verify_checkpoint` does."""
    with _opened(filesystem, run, iteration) as (path, place):
        _verification(filesystem, path, place)
        yield path


def _verification(filesystem: StoreFilesystem, path: str, place: CheckpointId) -> Verification:
    run, iteration = place.run, place.iteration
    loaded = load_checkpoint(path, place)
    verify_loaded(path, place, loaded)
    record = read_record(filesystem, run, iteration) if loaded.index else None
    if record is not None and loaded.index is not None and record.nonce != loaded.index.nonce:
        record = None
    damaged_record = None
    if record is not None and loaded.index is not None:
        try:
            verify_file(path, place, record)
        except DamagedCheckpointError as error:
            if not is_as_written(path, place, loaded.index):
                raise
            damaged_record = _damaged_record(filesystem, place, error)
            logger.warning("%s", damaged_record)
    against = "zip checksums" if loaded.index is None else "digests"
    size = os.stat(path).st_size
    compared = record is not None and damaged_record is None
    return Verification(run, iteration, size, against, compared, damaged_record)


def _damaged_record(
    filesystem: StoreFilesystem, place: CheckpointId, error: DamagedCheckpointError
) -> str:
    where = filesystem.url(layout.checkpoint_record_path(place.run, place.iteration))
    return (
        f"the record of checkpoint {place.iteration} of run {place.run!r} ({where}) is damaged: it "
        f"says {error.expected}, the file has {error.found} and is whole by its own digests. "
        "Delete the record: the checkpoint needs none"
    )


def missing_checkpoint(
    filesystem: StoreFilesystem, run: str, iteration: int
) -> MissingCheckpointError:
    """The error for a checkpoint that is not there, with what there is."""
    names = filesystem.sound_names(layout.iterations_folder(run))
    there = sorted(i for i in map(layout.parse_iteration, names) if i is not None)
    if there:
        known = ", ".join(map(str, there[-5:]))
        hint = f"it has {len(there)}, the latest {known}"
    else:
        hint = f"the run has none in {filesystem.basedir}"
    return MissingCheckpointError(f"no checkpoint {iteration} of run {run!r}: {hint}")


@contextmanager
def _opened(
    filesystem: StoreFilesystem, run: str, iteration: int
) -> Iterator[tuple[str, CheckpointId]]:
    path = layout.checkpoint_path(run, iteration)
    with _said_what_there_is(filesystem, run, iteration), filesystem.local_copy(path) as local:
        yield local, CheckpointId(run, iteration, filesystem.url(path))


@contextmanager
def _said_what_there_is(filesystem: StoreFilesystem, run: str, iteration: int) -> Iterator[None]:
    try:
        yield
    except NotAFileError as error:
        place = CheckpointId(run, iteration, filesystem.url(layout.checkpoint_path(run, iteration)))
        raise place.damaged("is damaged", "a file", error.what) from error
    except FileNotFoundError as error:
        if isinstance(error, MissingCheckpointError):
            raise
        raise missing_checkpoint(filesystem, run, iteration) from error


def _this_process() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"

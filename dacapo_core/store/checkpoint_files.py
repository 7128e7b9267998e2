"""Writing, reading and verifying the checkpoints of a store, each with its record."""

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
from dacapo_core.store.checkpoint_format.safe_loading import load_checkpoint
from dacapo_core.store.checkpoint_format.verification import (
    is_as_written,
    verify_file,
    verify_loaded,
)
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
    """What a checkpoint was compared with; it was found whole.

    Attributes:
        against: ``digests``, or of a checkpoint that DaCapo wrote ``zip checksums`` (where it
            wrote any).
        record: whether the whole file was also found equal to its record.
        damaged_record: the problem, where the record itself is damaged.
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
    path = layout.CHECKPOINT_RECORDS.path(run, record.iteration)
    try:
        # not durable: that would be two more waits for the disk
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
        content = filesystem.read_bytes(layout.CHECKPOINT_RECORDS.path(run, iteration))
        return CheckpointRecord.model_validate_json(content)
    except (FileNotFoundError, NotAFileError, ValidationError):
        return None


def read_checkpoint(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    section: str | None = None,
    *,
    verify: bool,
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Map a checkpoint's state into memory.

    Args:
        section: at least this one (``"model"``). Of a checkpoint that DaCapo did not write, no
            other is read, fetched or verified.
        verify: compare what is read with its digests or checksums.
        device: read model and optimizer straight there, unless DaCapo wrote the checkpoint; for
            the whole state only.

    Raises:
        MissingCheckpointError: no such run or iteration.
        DamagedCheckpointError: its bytes are not those that were written.
        UnsafeCheckpointError: it asks for code to be run.
    """
    if section is not None and not filesystem.is_local:
        with (
            _located(filesystem, run, iteration) as (remote, checkpoint),
            filesystem.sparse_copy(remote) as copy,
        ):
            state = map_checkpoint(copy.path, checkpoint, section, verify=verify, fetch=copy.fetch)
            if state is not None and copy.is_of_one_version():
                return state
    with _opened(filesystem, run, iteration) as (path, checkpoint):
        if device is None:
            state = map_checkpoint(path, checkpoint, section, verify=verify)
        else:
            state = load_to_device(path, checkpoint, device, verify=verify)
        if state is not None:
            return state
        loaded = load_checkpoint(path, checkpoint)
        if verify:
            verify_loaded(path, checkpoint, loaded, section)
        return loaded.state


def verify_checkpoint(filesystem: StoreFilesystem, run: str, iteration: int) -> Verification:
    """Compare a whole checkpoint with its digests and record, or with its zip's checksums.

    Raises as `read_checkpoint`.
    """
    with _opened(filesystem, run, iteration) as (path, checkpoint):
        return _verification(filesystem, path, checkpoint)


@contextmanager
def verified_copy(filesystem: StoreFilesystem, run: str, iteration: int) -> Iterator[str]:
    """A local path of a checkpoint that verifies; raises as `read_checkpoint`."""
    with _opened(filesystem, run, iteration) as (path, checkpoint):
        _verification(filesystem, path, checkpoint)
        yield path


def _verification(filesystem: StoreFilesystem, path: str, checkpoint: CheckpointId) -> Verification:
    loaded = load_checkpoint(path, checkpoint)
    verify_loaded(path, checkpoint, loaded)
    index = loaded.index
    record = read_record(filesystem, checkpoint.run, checkpoint.iteration) if index else None
    damaged_record = None
    if index is None or record is None or record.nonce != index.nonce:
        record = None
    else:
        try:
            verify_file(path, checkpoint, record)
        except DamagedCheckpointError as error:
            if not is_as_written(path, checkpoint, index):
                raise
            damaged_record = _damaged_record(filesystem, checkpoint, error)
            logger.warning("%s", damaged_record)
    return Verification(
        checkpoint.run,
        checkpoint.iteration,
        bytes=os.stat(path).st_size,
        against="zip checksums" if index is None else "digests",
        record=record is not None and damaged_record is None,
        damaged_record=damaged_record,
    )


def _damaged_record(
    filesystem: StoreFilesystem, checkpoint: CheckpointId, error: DamagedCheckpointError
) -> str:
    run, iteration = checkpoint.run, checkpoint.iteration
    where = filesystem.url(layout.CHECKPOINT_RECORDS.path(run, iteration))
    return (
        f"the record of checkpoint {iteration} of run {run!r} ({where}) is damaged: it "
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
    """A local path of a checkpoint's bytes; errors as those of `_located`."""
    with (
        _located(filesystem, run, iteration) as (path, checkpoint),
        filesystem.local_copy(path) as local,
    ):
        yield local, checkpoint


@contextmanager
def _located(
    filesystem: StoreFilesystem, run: str, iteration: int
) -> Iterator[tuple[str, CheckpointId]]:
    """A checkpoint's path in its store.

    Raises (in the block):
        MissingCheckpointError: says which checkpoints there are.
        DamagedCheckpointError: something else than a file is there.
    """
    path = layout.checkpoint_path(run, iteration)
    checkpoint = CheckpointId(run, iteration, filesystem.url(path))
    try:
        yield path, checkpoint
    except NotAFileError as error:
        raise checkpoint.damaged("a file", error.what) from error
    except MissingCheckpointError:
        raise
    except FileNotFoundError as error:
        raise missing_checkpoint(filesystem, run, iteration) from error


def _this_process() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"

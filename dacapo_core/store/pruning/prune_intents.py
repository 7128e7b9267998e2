"""How a pruner and one who protects a checkpoint never miss each other, without a lock.

A pruner first writes what it is about to delete or mark (its intent), then looks again at what is
protected, then deletes. One who protects writes its protection first, then looks for intents.
So at least one of the two sees the other: the pruner spares the checkpoint, or the protector
waits until the pruner is done and sees whether the checkpoint is still there.
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from dacapo_core.store import layout
from dacapo_core.store.errors import MissingCheckpointError
from dacapo_core.store.filesystems.file_info import FileInfo
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.json_records import parsed, write_json
from dacapo_core.store.records.process_identity import ProcessIdentity
from dacapo_core.store.records.prune_records import OperationRecord, write_operation

PRESUMED_DEAD_AFTER = timedelta(minutes=15)
"""A pruner renews its intent every minute; one elsewhere that has not for so long is dead."""
_RENEW_AFTER = timedelta(minutes=1)


class PruneIntent(BaseModel):
    """What one pruner is about to delete or mark; its file is gone when it is done.

    Attributes:
        record: the record of the operation, as if everything in it were done.
    """

    model_config = ConfigDict(extra="ignore")

    process: ProcessIdentity
    renewed: datetime
    record: OperationRecord

    def is_abandoned(self) -> bool:
        """Whether its pruner is known or presumed to be dead, or this process has broken it off."""
        return (
            self.process.is_known_dead()
            or datetime.now(UTC) - self.renewed > PRESUMED_DEAD_AFTER
            or (
                self.process == ProcessIdentity.current()
                and self.record.operation not in _under_way
            )
        )


# operations of this process; one that a full disk broke off leaves its intent and lives on
_under_way: set[str] = set()


def write_intent(filesystem: StoreFilesystem, run: str, intent: PruneIntent) -> None:
    _under_way.add(intent.record.operation)
    write_json(filesystem, layout.PRUNING.path(run, intent.record.operation), intent)


def renew_intent(filesystem: StoreFilesystem, run: str, intent: PruneIntent) -> None:
    """Show that the pruner is alive, at most once a minute."""
    now = datetime.now(UTC)
    if now - intent.renewed > _RENEW_AFTER:
        intent.renewed = now
        write_intent(filesystem, run, intent)


def end_intent(
    filesystem: StoreFilesystem, run: str, operation: str, done: OperationRecord | None = None
) -> None:
    """Put on record what was done, if anything, and take the intent away.

    Raises:
        StoreNotWritableError: nothing can be put on record; the next prune or sweep does it.
    """
    try:
        if done is not None:
            write_operation(filesystem, run, done)
        filesystem.delete([layout.PRUNING.path(run, operation)])
    finally:
        _under_way.discard(operation)


def read_intents(filesystem: StoreFilesystem, run: str) -> list[PruneIntent]:
    """All prunes under way or broken off."""
    folder = layout.PRUNING.of(run)
    names = [name for name in filesystem.file_names(folder) if name.endswith(".json")]
    contents = filesystem.read_many([f"{folder}/{name}" for name in names])
    intents = (parsed(PruneIntent, content) for content in contents.values())
    return [intent for intent in intents if intent is not None]


def finish_abandoned(filesystem: StoreFilesystem, run: str) -> None:
    """Put on record what dead pruners had deleted or marked; forget the rest of their intents.

    A checkpoint that is still there gets back the record that was deleted before it.
    """
    for intent in read_intents(filesystem, run):
        if not intent.is_abandoned():
            continue
        names = filesystem.names(layout.iterations_folder(run))
        there = {layout.parse_iteration(name) for name in names}
        for iteration, entry in intent.record.iterations.items():
            if iteration in there and entry.record is not None:
                put_back_record(filesystem, run, iteration, entry.record)
        if intent.record.kind == "mark":
            done = _marked_by(filesystem, run, intent.record)
        else:
            done = intent.record.iterations.keys() - there
        if done and not filesystem.exists(layout.PRUNED.path(run, intent.record.operation)):
            entries = {i: d for i, d in intent.record.iterations.items() if i in done}
            changed = {"iterations": entries, "interrupted": True}
            write_operation(filesystem, run, intent.record.model_copy(update=changed))
        end_intent(filesystem, run, intent.record.operation)


def _marked_by(filesystem: StoreFilesystem, run: str, record: OperationRecord) -> set[int]:
    """Of the checkpoints that an operation was to mark, those that have its mark."""
    paths = {layout.MARKED.path(run, i): i for i in record.iterations}
    name = record.operation.encode()
    return {paths[path] for path, mark in filesystem.read_many(paths).items() if name in mark}


def put_back_record(filesystem: StoreFilesystem, run: str, iteration: int, record: str) -> None:
    """Write a checkpoint's record again after its deletion failed; a newer one stays."""
    with contextlib.suppress(FileExistsError):
        filesystem.create_bytes(layout.CHECKPOINT_RECORDS.path(run, iteration), record.encode())


def settle(filesystem: StoreFilesystem, run: str, iteration: int) -> None:
    """Called after a protection was written: wait for pruners that meant to delete this one.

    Raises:
        MissingCheckpointError: a pruner was faster.
    """
    wait_for_pruners(filesystem, run, iteration)
    require_checkpoint(filesystem, run, iteration)


def wait_for_pruners(filesystem: StoreFilesystem, run: str, iteration: int) -> bool:
    """Wait until no pruner means to delete or mark this one; whether any did.

    One listing where no prune is under way.
    """
    waited = False
    while any(
        iteration in intent.record.iterations and not intent.is_abandoned()
        for intent in read_intents(filesystem, run)
    ):
        waited = True
        time.sleep(0.1)
    return waited


def require_checkpoint(filesystem: StoreFilesystem, run: str, iteration: int) -> FileInfo:
    """
    Raises:
        MissingCheckpointError: no such checkpoint.
    """
    try:
        return filesystem.file_info(layout.checkpoint_path(run, iteration))
    except FileNotFoundError:
        raise MissingCheckpointError(
            f"run {run!r} has no checkpoint of iteration {iteration} in {filesystem.basedir}; "
            "`dacapo-store ls` lists those it has, `dacapo-store why` tells what became of one"
        ) from None

"""The trash of a run: pruned checkpoints within their grace period, marked, restored, deleted.

A mark is written as a deletion is: what is about to be marked is on record before, so that after a
kill the next prune or sweep knows what was marked and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from dacapo_core.store import layout
from dacapo_core.store.errors import (
    MissingCheckpointError,
    RestoreError,
    StoreError,
)
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.delete import delete_checkpoints
from dacapo_core.store.pruning.prune_intents import (
    finish_abandoned,
    settle,
)
from dacapo_core.store.pruning.prune_operation import Order, Outcome, carry_out, is_another
from dacapo_core.store.pruning.run_inventory import read_pins, require_run, take_inventory
from dacapo_core.store.records.checkpoint_flags import RESTORED, Mark, mark, pin, unmark
from dacapo_core.store.records.process_identity import this_person
from dacapo_core.store.records.prune_records import (
    DELETING,
    OperationRecord,
    PrunedCheckpoint,
    new_operation,
    read_operations,
    write_operation,
)
from dacapo_core.store.records.score_names import reasons_in_words

_AT_ONCE = 8


@dataclass
class Sweep:
    """What a sweep of one run did.

    Attributes:
        reclaimed: iteration → why it had been pruned; deleted now, past its grace.
        protected: iteration → why it stays although its grace is over.
        waiting: iteration → until when it can be restored at least.
        failed: iteration → why it could not be deleted.
        left_overs: paths of files of dead writers and of records without a checkpoint.
    """

    reclaimed: dict[int, list[str]] = field(default_factory=dict)
    protected: dict[int, list[str]] = field(default_factory=dict)
    waiting: dict[int, datetime] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    left_overs: list[str] = field(default_factory=list)
    bytes_freed: int = 0


def mark_checkpoints(filesystem: StoreFilesystem, run: str, order: Order) -> Outcome:
    """Mark what nothing protects by now; a mark that cannot be written is reported.

    Raises:
        StoreNotWritableError: nothing can be written, so nothing was marked.
        DamagedRecordError: a best record cannot be read; a sweep deletes nothing then.
    """

    def mark_batch(record: OperationRecord, batch: Sequence[int], done: Outcome) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            errors = pool.map(lambda i: _mark(filesystem, run, i, order, record), batch)
            done.failed |= {i: str(e) for i, e in zip(batch, errors, strict=True) if e is not None}
        marked = [i for i in batch if i not in done.failed]
        done.gone |= {i: record.iterations[i] for i in marked}
        _spare(filesystem, run, order, marked, done)

    return carry_out(filesystem, run, order, mark_batch)


def _mark(
    filesystem: StoreFilesystem, run: str, iteration: int, order: Order, record: OperationRecord
) -> Exception | None:
    assert order.reclaim_after is not None
    then = order.seen[iteration]
    flag = Mark(
        time=record.time,
        by=order.by,
        size=then.size,
        stored=then.stored,
        version=then.version if isinstance(then.version, str) else None,
        reclaim_after=order.reclaim_after,
        reasons=order.reasons[iteration],
        operation=record.operation,
    )
    try:
        mark(filesystem, run, iteration, flag)
    except (StoreError, OSError) as error:
        return error
    return None


def _spare(
    filesystem: StoreFilesystem, run: str, order: Order, marked: Sequence[int], done: Outcome
) -> None:
    """Take the marks back from those that are protected, gone or stored again by now."""
    inventory = take_inventory(filesystem, run, datetime.now(UTC))
    firm = inventory.never_prunable()
    for iteration in marked:
        now = inventory.checkpoints.get(iteration)
        if now is not None and iteration in firm:
            done.spared[iteration] = firm[iteration]
        elif now is not None and is_another(now, order.seen[iteration]):
            done.spared[iteration] = ["stored again since the plan was made"]
        elif now is not None:
            continue
        unmark(filesystem, run, iteration)
        del done.gone[iteration]


def restore(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    *,
    by: str | None = None,
    reasons: Sequence[str] = ("restored within its grace period",),
    keep: bool = False,
) -> bool:
    """Bring back a checkpoint that was pruned and is within its grace period.

    Args:
        keep: pin it, so that the next prune does not take it again: a person wants it.

    Returns:
        False when it was there and not pruned, so that nothing had to be done.

    Raises:
        RestoreError: it is gone; says when, why and by whom.
        MissingCheckpointError: no such run, or there never was one on record.
    """
    layout.check_run_name(run)
    layout.check_iteration(iteration)
    if not filesystem.is_file(layout.checkpoint_path(run, iteration)):
        raise _gone(filesystem, run, iteration)
    if not filesystem.exists(layout.MARKED.path(run, iteration)):
        return False
    pins = read_pins(filesystem, run).get(iteration, []) if keep else []
    if keep and all(each.child is not None for each in pins):
        try:
            pin(filesystem, run, iteration, why=RESTORED, by=by or this_person())
        except MissingCheckpointError:
            raise _gone(filesystem, run, iteration) from None
    unmark(filesystem, run, iteration)
    try:
        settle(filesystem, run, iteration)
    except MissingCheckpointError:
        raise _gone(filesystem, run, iteration) from None
    record = OperationRecord(
        operation=new_operation(),
        kind="restore",
        time=datetime.now(UTC),
        by=by or this_person(),
        iterations={iteration: PrunedCheckpoint(reasons=list(reasons))},
    )
    write_operation(filesystem, run, record)
    return True


def _gone(filesystem: StoreFilesystem, run: str, iteration: int) -> MissingCheckpointError:
    operations, _ = read_operations(filesystem, run)
    for record in reversed(operations):
        if iteration in record.iterations and record.kind in DELETING:
            entry = record.iterations[iteration]
            return RestoreError(
                f"iteration {iteration} of run {run!r} cannot be brought back: it was deleted "
                f"({record.kind}) on {record.time:%Y-%m-%d %H:%M:%S} UTC by {record.by}: "
                f"{'; '.join(reasons_in_words(entry.reasons))}"
            )
    if not operations:
        require_run(filesystem, run)
    return MissingCheckpointError(
        f"run {run!r} has no checkpoint of iteration {iteration} in {filesystem.basedir}, and "
        "none is on record as pruned"
    )


def sweep_run(filesystem: StoreFilesystem, run: str, *, by: str | None = None) -> Sweep:
    """Delete what is past its grace period and not protected, and what dead writers left.

    Raises:
        MissingCheckpointError: no such run.
        StoreNotWritableError: the store cannot be written; nothing was deleted.
        DamagedRecordError: a best record cannot be read: nothing is deleted on doubt.
    """
    layout.check_run_name(run)
    done = Sweep()
    finish_abandoned(filesystem, run)
    now = datetime.now(UTC)
    inventory = take_inventory(filesystem, run, now)
    if not inventory.checkpoints:
        require_run(filesystem, run)
    firm = inventory.never_prunable()
    due: dict[int, list[str]] = {}
    for iteration, note in inventory.flags.marks.items():
        checkpoint = inventory.checkpoints.get(iteration)
        if note is None or checkpoint is None or checkpoint.marked is None:
            continue
        if now < note.reclaim_after:
            done.waiting[iteration] = note.reclaim_after
        elif iteration in firm:
            done.protected[iteration] = firm[iteration]
        else:
            due[iteration] = note.reasons
    order = Order(
        kind="reclaim",
        reasons=due,
        seen=inventory.checkpoints,
        by=by or this_person(),
        marked_only=True,
    )
    outcome = delete_checkpoints(filesystem, run, order)
    done.reclaimed = {i: entry.reasons for i, entry in outcome.gone.items()}
    done.bytes_freed = sum(entry.bytes or 0 for entry in outcome.gone.values())
    done.protected |= outcome.spared
    done.failed = outcome.failed
    done.left_overs = _sweep_left_overs(filesystem, run, now)
    return done


def _sweep_left_overs(filesystem: StoreFilesystem, run: str, now: datetime) -> list[str]:
    """Records of checkpoints that are gone, expired requests, files of dead writers."""
    removed = filesystem.sweep_partials(layout.partial_folder(run))
    folders = (layout.CHECKPOINT_RECORDS, layout.MARKED, layout.DAMAGED, layout.VERIFIED)
    records = {
        f"{folder.of(run)}/{name}": number[0]
        for folder in folders
        for name in filesystem.file_names(folder.of(run))
        if (number := layout.parse_numbered_record(name)) is not None
    }
    # listed after the records: a checkpoint stored meanwhile is in it
    names = filesystem.names(layout.iterations_folder(run))
    there = {layout.parse_iteration(name) for name in names}
    # and asked for: a file server may show an older listing than the records are

    @cache
    def is_gone(iteration: int) -> bool:
        path = layout.checkpoint_path(run, iteration)
        return iteration not in there and not filesystem.exists(path)

    orphans = [path for path, iteration in records.items() if is_gone(iteration)]
    pending = take_inventory(filesystem, run, now).flags.pending
    orphans += [
        layout.PENDING.path(run, iteration)
        for iteration, request in pending.items()
        if is_gone(iteration) or (request is not None and request.expires <= now)
    ]
    failed = filesystem.delete(orphans)
    return removed + [path for path in orphans if path not in failed]

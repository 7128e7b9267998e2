"""After pruning: bring a marked checkpoint back, reclaim what is past its grace, remove by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dacapo_core.store import layout
from dacapo_core.store.errors import (
    MissingCheckpointError,
    ProtectedCheckpointError,
    RestoreError,
    StoreNotWritableError,
)
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.delete import Order, delete_checkpoints
from dacapo_core.store.pruning.plan_inputs import gather, is_pinned_by_hand, require_run
from dacapo_core.store.pruning.prune_intents import finish_abandoned, require_checkpoint, settle
from dacapo_core.store.records.best_records import delete_best
from dacapo_core.store.records.checkpoint_flags import RESTORED, pin, unmark
from dacapo_core.store.records.process_identity import this_person
from dacapo_core.store.records.prune_records import (
    DELETING,
    Departure,
    OperationRecord,
    new_operation,
    read_operations,
    write_operation,
)
from dacapo_core.store.records.score_names import reasons_in_words


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
    if not filesystem.exists(layout.marked_path(run, iteration)):
        return False
    if keep and not is_pinned_by_hand(filesystem, run, iteration):
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
        iterations={iteration: Departure(reasons=list(reasons))},
    )
    write_operation(filesystem, run, record)
    return True


def sweep_run(filesystem: StoreFilesystem, run: str, *, by: str | None = None) -> Sweep:
    """Delete what is past its grace and still may go, and what dead writers left.

    Raises:
        MissingCheckpointError: no such run.
        StoreNotWritableError: the store cannot be written; nothing was deleted.
        DamagedRecordError: a best record cannot be read: nothing is deleted on doubt.
    """
    layout.check_run_name(run)
    done = Sweep()
    finish_abandoned(filesystem, run)
    now = datetime.now(UTC)
    facts = gather(filesystem, run, now)
    if not facts.checkpoints:
        require_run(filesystem, run)
    firm = facts.never_prunable()
    due: dict[int, list[str]] = {}
    for iteration, note in facts.notes.marks.items():
        checkpoint = facts.checkpoints.get(iteration)
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
        seen=facts.checkpoints,
        by=by or this_person(),
        marked_only=True,
    )
    outcome = delete_checkpoints(filesystem, run, order)
    done.reclaimed = {i: departure.reasons for i, departure in outcome.gone.items()}
    done.bytes_freed = sum(departure.bytes or 0 for departure in outcome.gone.values())
    done.protected |= outcome.spared
    done.failed = outcome.failed
    done.left_overs = _sweep_left_overs(filesystem, run, now)
    return done


def remove_checkpoint(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    *,
    force: bool = False,
    by: str | None = None,
) -> None:
    """Delete one checkpoint by hand.

    Args:
        force: also when it is the latest, a best, pinned or waiting for its validation; the best
            records that name it go with it.

    Raises:
        MissingCheckpointError: no such checkpoint.
        ProtectedCheckpointError: something points to it; says what.
        StoreNotWritableError: it could not be deleted.
    """
    layout.check_run_name(run)
    iteration = layout.check_iteration(iteration)
    require_checkpoint(filesystem, run, iteration)
    facts = gather(filesystem, run, datetime.now(UTC))
    reasons = facts.protected_by_hand().get(iteration, [])
    if reasons and not force:
        what = ", ".join(reasons_in_words(reasons))
        raise ProtectedCheckpointError(
            f"iteration {iteration} of run {run!r} is {what}; it was not removed. "
            "By force it is, with what names it"
        )
    if force:
        bests = [judged for judged, target in facts.best_targets.items() if target == iteration]
        delete_best(filesystem, run, bests)
        pins = [pin.child if pin else None for pin in facts.notes.pins.get(iteration, [])]
        paths = [layout.pin_path(run, iteration, child) for child in pins]
        filesystem.delete([*paths, layout.pending_path(run, iteration)])
    order = Order(
        kind="remove",
        reasons={iteration: ["removed by hand", *reasons]},
        seen=facts.checkpoints,
        by=by or this_person(),
        by_hand=True,
        forced=force,
    )
    done = delete_checkpoints(filesystem, run, order)
    if done.spared:
        raise ProtectedCheckpointError(
            f"iteration {iteration} of run {run!r} was not removed: it has just become "
            f"{', '.join(reasons_in_words(done.spared[iteration]))}"
        )
    if done.failed:
        raise StoreNotWritableError(done.failed[iteration])


def _gone(filesystem: StoreFilesystem, run: str, iteration: int) -> MissingCheckpointError:
    operations, _ = read_operations(filesystem, run)
    for record in reversed(operations):
        if iteration in record.iterations and record.kind in DELETING:
            departure = record.iterations[iteration]
            return RestoreError(
                f"iteration {iteration} of run {run!r} cannot be brought back: it was deleted "
                f"({record.kind}) on {record.time:%Y-%m-%d %H:%M:%S} UTC by {record.by}: "
                f"{'; '.join(reasons_in_words(departure.reasons))}"
            )
    if not operations:
        require_run(filesystem, run)
    return MissingCheckpointError(
        f"run {run!r} has no checkpoint of iteration {iteration} in {filesystem.basedir}, and "
        "none is on record as pruned"
    )


def _sweep_left_overs(filesystem: StoreFilesystem, run: str, now: datetime) -> list[str]:
    """Records of checkpoints that are gone, expired requests, files of dead writers."""
    removed = filesystem.sweep_partials(layout.partial_folder(run))
    paths: list[str] = []
    for folder in (
        layout.checkpoint_records_folder(run),
        layout.marked_folder(run),
        layout.damaged_folder(run),
        layout.verified_folder(run),
    ):
        for name in filesystem.file_names(folder):
            number = layout.parse_numbered_record(name)
            if number is None:
                continue
            paths.append(f"{folder}/{name}")
    # listed after the records: a checkpoint stored meanwhile is in it
    names = filesystem.names(layout.iterations_folder(run))
    there = {layout.parse_iteration(name) for name in names}
    # and asked for: a file server may show an older listing than the records are
    gone: dict[int, bool] = {}

    def is_gone(iteration: int) -> bool:
        if iteration not in gone:
            path = layout.checkpoint_path(run, iteration)
            gone[iteration] = iteration not in there and not filesystem.exists(path)
        return gone[iteration]

    orphans = []
    for path in paths:
        number = layout.parse_numbered_record(path.rpartition("/")[2])
        if number is not None and is_gone(number[0]):
            orphans.append(path)
    pending = gather(filesystem, run, now).notes.pending
    orphans += [
        layout.pending_path(run, iteration)
        for iteration, request in pending.items()
        if is_gone(iteration) or (request is not None and request.expires <= now)
    ]
    failed = filesystem.delete(orphans)
    return removed + [path for path in orphans if path not in failed]

"""Pruning a run: the plan of the policy, carried out.

A dry run reads the same and decides the same; it writes nothing. What the real run then spares
is only what has changed since (a best that moved, a checkpoint stored again).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import ValidationError

from dacapo_core.store import layout
from dacapo_core.store.checkpoints.checkpoint_record import CheckpointRecord
from dacapo_core.store.errors import (
    DamagedCheckpointError,
    MissingCheckpointError,
    RetentionError,
    UnsafeCheckpointError,
)
from dacapo_core.store.files.filesystem import StoreFilesystem
from dacapo_core.store.pruning.deletion import Order, delete_checkpoints
from dacapo_core.store.pruning.prune_intents import finish_abandoned
from dacapo_core.store.pruning.prune_plan import PrunePlan, StoredCheckpoint
from dacapo_core.store.records.iteration_notes import Mark, mark, unmark
from dacapo_core.store.records.process_identity import this_person
from dacapo_core.store.records.prune_records import (
    Departure,
    OperationRecord,
    new_operation,
    write_operation,
)
from dacapo_core.store.records.run_facts import RunFacts, gather
from dacapo_core.store.records.scores import ScoresRecord
from dacapo_core.store.records.scores_records import read_scores
from dacapo_core.store.records.verification_notes import note_damage
from dacapo_core.store.retention import RetentionPolicy, plan

Verify = Callable[[int], object]
"""Raises DamagedCheckpointError when the checkpoint of an iteration is not whole."""

_MARKS_AT_ONCE = 8


def prune(
    filesystem: StoreFilesystem,
    run: str,
    policy: RetentionPolicy,
    *,
    verify: Verify,
    dry_run: bool = False,
    by: str | None = None,
) -> PrunePlan:
    """Prune a run by a policy and return what became of each checkpoint, and why.

    Before anything goes, the newest checkpoint is verified; a damaged one counts toward
    nothing, and the newest that verifies is kept.

    Args:
        verify: raises where a checkpoint is damaged.
        dry_run: only say what would be done.
        by: who prunes, for the record; default the user and the host.

    Raises:
        MissingCheckpointError: no such run.
        RetentionError: the policy does not fit the run's scores, or no checkpoint verifies.
        DamagedRecordError: a best record cannot be read: nothing is pruned on doubt.
        StoreNotWritableError: the store cannot be written; nothing was pruned.
    """
    layout.check_run_name(run)
    if not dry_run:
        finish_abandoned(filesystem, run)
    now = datetime.now(UTC)
    facts = gather(filesystem, run, now)
    if not facts.checkpoints and run not in filesystem.list_folders():
        raise MissingCheckpointError(
            f"there is no run {run!r} in {filesystem.basedir}; `dacapo-store ls` lists the runs"
        )
    decided = _decide(filesystem, run, policy, facts, verify, now, dry_run)
    if dry_run:
        return decided
    if policy.grace is not None:
        return _mark(filesystem, run, policy, decided, by or this_person())
    return _delete(filesystem, run, policy, decided, by or this_person())


def _decide(
    filesystem: StoreFilesystem,
    run: str,
    policy: RetentionPolicy,
    facts: RunFacts,
    verify: Verify,
    now: datetime,
    dry_run: bool,
) -> PrunePlan:
    checkpoints = dict(facts.checkpoints)
    protected = facts.named()
    records: list[ScoresRecord] = []
    if policy.keep_best is not None:
        records, unreadable = read_scores(filesystem, run, checkpoints)
        for iteration, what in unreadable.items():
            protected.setdefault(iteration, []).append(f"its scores cannot be read: {what}")
    while True:
        decided = plan(
            policy,
            checkpoints.values(),
            scores=records,
            best=facts.best,
            protected=protected,
            now=now,
        )
        if not decided.doomed:
            break
        whole = [i for i, c in checkpoints.items() if c.damaged is None]
        if not whole:
            raise RetentionError(
                f"no checkpoint of run {run!r} verifies; nothing was pruned. Look at them with "
                "`dacapo-store verify`"
            )
        newest = max([i for i in whole if checkpoints[i].marked is None] or whole)
        damaged = _damage(filesystem, run, newest, verify, dry_run)
        if damaged is None:
            break
        checkpoints[newest] = replace(checkpoints[newest], damaged=damaged)
    return replace(decided, run=run, dry_run=dry_run)


def _damage(
    filesystem: StoreFilesystem, run: str, iteration: int, verify: Verify, dry_run: bool
) -> str | None:
    try:
        verify(iteration)
    except (DamagedCheckpointError, UnsafeCheckpointError) as error:
        if _is_of_another_kind(filesystem, run, iteration):
            return None
        if not dry_run:
            note_damage(filesystem, run, iteration, str(error))
        return str(error)
    except FileNotFoundError:
        return "it is gone"
    return None


def _is_of_another_kind(filesystem: StoreFilesystem, run: str, iteration: int) -> bool:
    """Whether a file is nothing that we or torch's zip format wrote: not known to be damaged."""
    try:
        record = filesystem.read_bytes(layout.checkpoint_record_path(run, iteration))
        CheckpointRecord.model_validate_json(record)
    except (FileNotFoundError, ValidationError):
        with (
            filesystem.local_copy(layout.checkpoint_path(run, iteration)) as path,
            open(path, "rb") as file,
        ):
            return file.read(2) not in (b"PK", b"")
    return False


def _delete(
    filesystem: StoreFilesystem, run: str, policy: RetentionPolicy, decided: PrunePlan, by: str
) -> PrunePlan:
    order = Order(
        kind="prune",
        reasons={iteration: decided.pruned[iteration] for iteration in decided.doomed},
        seen=decided.checkpoints,
        by=by,
        scores=decided.scores,
        policy=policy.model_dump(mode="json", exclude_defaults=True),
    )
    done = delete_checkpoints(filesystem, run, order)
    failed = {i: [f"could not be deleted: {why}"] for i, why in done.failed.items()}
    return _moved_to_kept(
        replace(decided, failed=done.failed, operation=done.operation), done.spared | failed
    )


def _mark(
    filesystem: StoreFilesystem, run: str, policy: RetentionPolicy, decided: PrunePlan, by: str
) -> PrunePlan:
    assert policy.grace is not None
    if not decided.doomed:
        return decided
    operation, now = new_operation(), datetime.now(UTC)
    reclaim_after = now + policy.grace

    def mark_one(iteration: int) -> None:
        note = Mark(
            time=now,
            by=by,
            reclaim_after=reclaim_after,
            reasons=decided.pruned[iteration],
            operation=operation,
        )
        mark(filesystem, run, iteration, note)

    with ThreadPoolExecutor(_MARKS_AT_ONCE) as pool:
        list(pool.map(mark_one, decided.doomed))
    firm = gather(filesystem, run, datetime.now(UTC)).never_prunable()
    spared = {i: firm[i] for i in decided.doomed if i in firm}
    for iteration in spared:
        unmark(filesystem, run, iteration)
    marked = [iteration for iteration in decided.doomed if iteration not in spared]
    record = OperationRecord(
        operation=operation,
        kind="mark",
        time=now,
        by=by,
        policy=policy.model_dump(mode="json", exclude_defaults=True),
        reclaim_after=reclaim_after,
        iterations={i: _departure(decided, i) for i in marked},
    )
    if marked:
        write_operation(filesystem, run, record)
    return _moved_to_kept(replace(decided, operation=operation if marked else None), spared)


def _departure(decided: PrunePlan, iteration: int) -> Departure:
    checkpoint: StoredCheckpoint = decided.checkpoints[iteration]
    return Departure(
        reasons=decided.pruned[iteration],
        bytes=checkpoint.size,
        stored=checkpoint.stored,
        scores=decided.scores.get(iteration, {}),
    )


def _moved_to_kept(decided: PrunePlan, spared: Mapping[int, list[str]]) -> PrunePlan:
    kept = dict(sorted({**decided.kept, **spared}.items()))
    pruned = {i: reasons for i, reasons in decided.pruned.items() if i not in spared}
    return replace(decided, kept=kept, pruned=pruned)

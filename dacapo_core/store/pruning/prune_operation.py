"""An operation of pruning: checkpoints are deleted or marked in batches, on record, safe to kill.

What is about to go is written down before (``records/pruning``), so that after a kill the next
prune or sweep knows what went and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.plan import StoredCheckpoint
from dacapo_core.store.pruning.prune_intents import (
    PruneIntent,
    end_intent,
    renew_intent,
    write_intent,
)
from dacapo_core.store.records.checkpoint_record import read_record_texts
from dacapo_core.store.records.process_identity import ProcessIdentity
from dacapo_core.store.records.prune_records import (
    Kind,
    OperationRecord,
    PrunedCheckpoint,
    new_operation,
)
from dacapo_core.store.records.scores import best_scores
from dacapo_core.store.records.scores_records import read_scores

BATCH = 1000


@dataclass
class Outcome:
    """What became of checkpoints that were to go.

    Attributes:
        gone: those that were deleted, or marked.
        spared: iteration → what protects it since the plan was made.
        failed: iteration → why it could not go.
        operation: the record's name; None when nothing was deleted or marked.
    """

    gone: dict[int, PrunedCheckpoint] = field(default_factory=dict)
    spared: dict[int, list[str]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    operation: str | None = None


@dataclass(frozen=True)
class Order:
    """Which checkpoints to delete or mark, and what the record of it says.

    Attributes:
        reasons: iteration → why it goes.
        seen: the checkpoints as the plan saw them; one that was stored again since is spared.
        records: iteration → its record as text, where they were read for the plan and are
            whole; None: they are read now, and a checkpoint whose record is damaged stays.
        reclaim_after: for marks.
        by_hand: a damaged one may be deleted although it is the newest.
        forced: nothing is spared.
        marked_only: one whose mark is gone since (it was restored) is spared.
    """

    kind: Kind
    reasons: Mapping[int, list[str]]
    seen: Mapping[int, StoredCheckpoint]
    by: str
    records: Mapping[int, str] | None = None
    policy: dict[str, Any] | None = None
    reclaim_after: datetime | None = None
    by_hand: bool = False
    forced: bool = False
    marked_only: bool = False


def _new_intent(
    filesystem: StoreFilesystem, run: str, order: Order, outcome: Outcome
) -> PruneIntent:
    """The intent with the operation's record; checkpoints in doubt stay, and count as failed."""
    records = order.records
    if records is None:
        records, damaged = read_record_texts(filesystem, run, order.reasons)
        if not order.forced:
            outcome.failed |= damaged
    if order.kind == "mark":
        records = {}  # they stay beside their checkpoints
    reasons = {i: why for i, why in order.reasons.items() if i not in outcome.failed}
    record = OperationRecord(
        operation=new_operation(),
        kind=order.kind,
        time=datetime.now(UTC),
        by=order.by,
        policy=order.policy,
        reclaim_after=order.reclaim_after,
        iterations=_pruned_checkpoints(filesystem, run, reasons, order.seen, records),
    )
    return PruneIntent(process=ProcessIdentity.current(), renewed=record.time, record=record)


def _pruned_checkpoints(
    filesystem: StoreFilesystem,
    run: str,
    reasons: Mapping[int, list[str]],
    seen: Mapping[int, StoredCheckpoint],
    records: Mapping[int, str],
) -> dict[int, PrunedCheckpoint]:
    """What the record of the operation will say of each, with its best scores."""
    scores = best_scores(read_scores(filesystem, run, seen, reasons).records)
    no_scores: dict[str, float] = {}
    return {
        iteration: PrunedCheckpoint(
            reasons=why,
            bytes=seen[iteration].freed,
            stored=seen[iteration].stored,
            scores=scores.get(iteration, no_scores),
            record=records.get(iteration),
        )
        for iteration, why in reasons.items()
    }


Act = Callable[[OperationRecord, Sequence[int], Outcome], None]
"""Deletes or marks a batch of an operation's iterations, and says in the outcome what it did."""


def carry_out(filesystem: StoreFilesystem, run: str, order: Order, act: Act) -> Outcome:
    """Act on checkpoints in batches, and put on record what was done.

    Raises:
        StoreNotWritableError: nothing can be written, so nothing was done.
        DamagedRecordError: a best record cannot be read, so no more is done.
    """
    done = Outcome()
    if not order.reasons:
        return done
    intent = _new_intent(filesystem, run, order, done)
    record = intent.record
    if not record.iterations:
        return done
    write_intent(filesystem, run, intent)
    try:
        waiting = sorted(record.iterations)
        for start in range(0, len(waiting), BATCH):
            renew_intent(filesystem, run, intent)
            act(record, waiting[start : start + BATCH], done)
    finally:
        finished = record.model_copy(update={"iterations": done.gone}) if done.gone else None
        end_intent(filesystem, run, record.operation, finished)
        done.operation = record.operation if finished is not None else None
    return done


def is_another(now: StoredCheckpoint, then: StoredCheckpoint) -> bool:
    """Whether a checkpoint was stored again."""
    return (now.size, now.stored, now.version) != (then.size, then.stored, then.version)

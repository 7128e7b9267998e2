"""Deleting checkpoints: looked at again at the act, in batches, on record, safe to kill.

Of each checkpoint the record goes first, then the file: no record ever speaks of a checkpoint
that is gone. What is about to go is written down before (``records/pruning``), so that after
a kill the next prune or sweep knows what went and why.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from dacapo_core.store import layout
from dacapo_core.store.files.filesystem import StoreFilesystem
from dacapo_core.store.pruning.prune_intents import (
    PruneIntent,
    end_intent,
    put_back_record,
    write_intent,
)
from dacapo_core.store.pruning.prune_plan import StoredCheckpoint
from dacapo_core.store.records.process_identity import ProcessIdentity
from dacapo_core.store.records.prune_records import (
    Departure,
    Kind,
    OperationRecord,
    new_operation,
    write_operation,
)
from dacapo_core.store.records.run_facts import RunFacts, gather

BATCH = 1000
_RENEW_AFTER = 60.0  # seconds
_LIST_AGAIN_AFTER = 1.0  # seconds


@dataclass
class Deletion:
    """What became of checkpoints that were to be deleted.

    Attributes:
        spared: iteration → what protects it since the plan was made.
        failed: iteration → why it could not be deleted.
        operation: the record's name; None when nothing was deleted.
    """

    deleted: dict[int, Departure] = field(default_factory=dict)
    spared: dict[int, list[str]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    operation: str | None = None


@dataclass(frozen=True)
class Order:
    """What to delete and what to say of it.

    Attributes:
        reasons: iteration → why it goes.
        seen: the checkpoints as the plan saw them; one that was stored again since is spared.
        by_hand: the latest may go too.
        forced: nothing is spared.
        marked_only: one whose mark is gone since (it was restored) is spared.
    """

    kind: Kind
    reasons: Mapping[int, list[str]]
    seen: Mapping[int, StoredCheckpoint]
    by: str
    scores: Mapping[int, dict[str, float]] = field(default_factory=dict)
    policy: dict[str, Any] | None = None
    by_hand: bool = False
    forced: bool = False
    marked_only: bool = False


def delete_checkpoints(filesystem: StoreFilesystem, run: str, order: Order) -> Deletion:
    """Delete what still may go.

    Raises:
        StoreNotWritableError: nothing can be written, so nothing was deleted.
        DamagedRecordError: a best record cannot be read, so no more is deleted.
    """
    done = Deletion()
    departures = _departures(filesystem, run, order, done.failed)
    if not departures:
        return done
    record = OperationRecord(
        operation=new_operation(),
        kind=order.kind,
        time=datetime.now(UTC),
        by=order.by,
        policy=order.policy,
        iterations=departures,
    )
    process = ProcessIdentity.current()
    intent = PruneIntent(process=process, renewed=record.time, record=record)
    write_intent(filesystem, run, intent)
    renewed = listed = time.monotonic()
    facts: RunFacts | None = None
    try:
        waiting = sorted(departures)
        for start in range(0, len(waiting), BATCH):
            if time.monotonic() - renewed > _RENEW_AFTER:
                intent.renewed, renewed = datetime.now(UTC), time.monotonic()
                write_intent(filesystem, run, intent)
            if time.monotonic() - listed > _LIST_AGAIN_AFTER:
                facts, listed = None, time.monotonic()
            known = None if facts is None else facts.checkpoints
            facts = gather(filesystem, run, datetime.now(UTC), known)
            batch = waiting[start : start + BATCH]
            _delete_batch(filesystem, run, order, departures, batch, facts, done)
    finally:
        if done.deleted:
            finished = record.model_copy(update={"iterations": done.deleted})
            write_operation(filesystem, run, finished)
            done.operation = record.operation
        end_intent(filesystem, run, record.operation)
    return done


def _departures(
    filesystem: StoreFilesystem, run: str, order: Order, failed: dict[int, str]
) -> dict[int, Departure]:
    """What will be said of each; one whose record is damaged is in doubt, and stays."""
    paths = {layout.checkpoint_record_path(run, i): i for i in order.reasons}
    records: dict[int, dict[str, Any]] = {}
    for path, content in filesystem.read_many(paths).items():
        try:
            record = from_json(content)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records[paths[path]] = record
        elif not order.forced:
            failed[paths[path]] = (
                f"its record {filesystem.url(path)} is damaged: nothing is deleted on doubt; "
                "verify the checkpoint, then remove it by force or store it again"
            )
    no_scores: dict[str, float] = {}
    return {
        iteration: Departure(
            reasons=reasons,
            bytes=order.seen[iteration].size,
            stored=order.seen[iteration].stored,
            scores=order.scores.get(iteration, no_scores),
            record=records.get(iteration),
        )
        for iteration, reasons in order.reasons.items()
        if iteration not in failed
    }


def _delete_batch(
    filesystem: StoreFilesystem,
    run: str,
    order: Order,
    departures: Mapping[int, Departure],
    batch: Iterable[int],
    facts: RunFacts,
    done: Deletion,
) -> None:
    firm = facts.named() if order.by_hand else facts.never_prunable()
    going: list[int] = []
    for iteration in batch:
        now, then = facts.checkpoints.get(iteration), order.seen[iteration]
        if now is None:
            continue
        if order.forced:
            going.append(iteration)
        elif iteration in firm:
            done.spared[iteration] = firm[iteration]
        elif (now.size, now.stored) != (then.size, then.stored):
            done.spared[iteration] = ["stored again since the plan was made"]
        elif order.marked_only and iteration not in facts.notes.marks:
            done.spared[iteration] = ["restored since the plan was made"]
        else:
            going.append(iteration)
    records = {
        layout.checkpoint_record_path(run, i): i for i in going if departures[i].record is not None
    }
    for path, error in filesystem.delete(records).items():
        done.failed[records[path]] = f"its record could not be deleted: {error}"
    files = {layout.checkpoint_path(run, i): i for i in going if i not in done.failed}
    for path, error in filesystem.delete(files).items():
        iteration = files[path]
        done.failed[iteration] = f"{filesystem.url(path)} could not be deleted: {error}"
        if (record := departures[iteration].record) is not None:
            put_back_record(filesystem, run, iteration, record)
    gone = [iteration for iteration in going if iteration not in done.failed]
    done.deleted |= {iteration: departures[iteration] for iteration in gone}
    notes = [layout.marked_path(run, i) for i in gone if i in facts.notes.marks]
    notes += [layout.damaged_path(run, i) for i in gone if i in facts.notes.damaged]
    verified = set(filesystem.file_names(layout.verified_folder(run)))
    notes += [layout.verified_path(run, i) for i in gone if f"{i}.json" in verified]
    filesystem.delete(notes)

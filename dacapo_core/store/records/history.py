"""What became of each checkpoint of a run, derived from the records; nothing is written.

Answers "why is iteration 4000 gone, and can I have it back?".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.plan import StoredCheckpoint
from dacapo_core.store.pruning.prune_intents import read_intents
from dacapo_core.store.pruning.run_inventory import (
    RunInventory,
    require_run,
    take_readable_inventory,
)
from dacapo_core.store.records.history_events import (
    Event,
    of_operations,
    of_the_one_before,
    of_withdrawn,
    scored,
)
from dacapo_core.store.records.prune_records import DELETING, OperationRecord, read_operations
from dacapo_core.store.records.score_names import reasons_in_words, shown_scores
from dacapo_core.store.records.scores import best_scores
from dacapo_core.store.records.scores_records import read_scores
from dacapo_core.store.records.strict_json import parsed_json
from dacapo_core.store.records.verification_records import Damage, Verified, read_verified
from dacapo_core.store.records.withdrawn_records import WithdrawnFacts, read_withdrawn

Fate = Literal["kept", "marked", "pruned"]


@dataclass(frozen=True)
class CheckpointHistory:
    """One checkpoint: where it is now, and all that is on record about it.

    Attributes:
        fate: kept; marked (pruned, within its grace period); pruned (gone).
        reasons: why it is protected, or why it was pruned.
        scores: by ``dataset/criterion``.
        size: in bytes; None where it is gone and was not on record.
        restorable_until: for a marked one, until when at least.
        verified: whether a verification found this file whole, or damaged; None: neither.
        verified_at: when that was.
    """

    iteration: int
    fate: Fate
    reasons: Sequence[str] = ()
    scores: dict[str, float] = field(default_factory=dict)
    best_for: Sequence[str] = ()
    size: int | None = None
    stored: datetime | None = None
    pruned: datetime | None = None
    pruned_by: str | None = None
    restorable_until: datetime | None = None
    damaged: str | None = None
    verified: bool | None = None
    verified_at: datetime | None = None
    events: Sequence[Event] = ()

    def answer(self, run: str) -> str:
        """For a person: what it is now, why, and whether it can be brought back."""
        name = f"Iteration {self.iteration} of run {run}"
        why = "; ".join(reasons_in_words(self.reasons))
        if self.fate == "kept":
            said = f"{name} is in the store" + (
                f": {why}." if why else ", and nothing protects it."
            )
            if any(reason.split(":")[0] == "pinned" for reason in self.reasons):
                said += (
                    f" It is kept until it is unpinned: dacapo-store unpin {run} {self.iteration}."
                )
            if self.damaged:
                said += f" It is damaged: {self.damaged}."
        elif self.fate == "marked":
            said = f"{name} was pruned {_when(self.pruned, self.pruned_by)}: {why}. "
            said += (
                f"It can be brought back: dacapo-store restore {run} {self.iteration} (certain "
                f"until {_time(self.restorable_until)}; then a sweep deletes it)."
            )
        else:
            said = f"{name} was deleted {_when(self.pruned, self.pruned_by)}: {why}. "
            said += "It cannot be brought back."
        if self.scores:
            said += f" Scores: {shown_scores(self.scores)}."
        return said


@dataclass(frozen=True)
class RunHistory:
    """All checkpoints of a run that there are or that are on record, by iteration.

    Attributes:
        damaged_records: records that could not be read, each with its path.
        withdrawn: scores, bests and pins that no longer count, and what was forgotten.
    """

    run: str
    checkpoints: dict[int, CheckpointHistory]
    operations: Sequence[OperationRecord]
    damaged_records: Sequence[str] = ()
    withdrawn: Sequence[WithdrawnFacts] = ()


def read_history(filesystem: StoreFilesystem, run: str) -> RunHistory:
    """
    Raises:
        MissingCheckpointError: no such run.
    """
    layout.check_run_name(run)
    inventory = take_readable_inventory(filesystem, run, datetime.now(UTC))
    operations, damaged = read_operations(filesystem, run)
    operations += [
        _interrupted(intent.record, inventory) for intent in read_intents(filesystem, run)
    ]
    records, unreadable, replaced = read_scores(filesystem, run, inventory.checkpoints)
    withdrawn, lost = read_withdrawn(filesystem, run)
    if not (inventory.checkpoints or operations or records):
        require_run(filesystem, run)
    about = _by_iteration(operations)
    events = of_operations(operations)
    for iteration in about.keys() & inventory.checkpoints.keys():
        events[iteration] = of_the_one_before(about[iteration], iteration, events[iteration])
    for iteration, told in of_withdrawn(withdrawn).items():
        events.setdefault(iteration, []).extend(told)
    for record in records:
        events.setdefault(record.iteration, []).append(scored(record))
    for record in replaced:
        events.setdefault(record.iteration, []).append(scored(record, earlier=True))
    said = _stored_records(filesystem, run, inventory)
    verified = read_verified(filesystem, run)
    scores = best_scores(records)
    firm = inventory.never_prunable()
    return RunHistory(
        run=run,
        checkpoints={
            iteration: _one(
                iteration,
                inventory,
                firm.get(iteration, []),
                about.get(iteration, []),
                events.get(iteration, []),
                scores.get(iteration, {}),
                said.get(iteration),
                verified.get(iteration),
            )
            for iteration in sorted(
                inventory.checkpoints.keys() | about.keys() | inventory.astray.keys()
            )
        },
        operations=operations,
        withdrawn=withdrawn,
        damaged_records=[
            *damaged,
            *lost,
            *unreadable.values(),
            *map(str, inventory.damaged.values()),
        ],
    )


def _by_iteration(operations: Iterable[OperationRecord]) -> dict[int, list[OperationRecord]]:
    found: dict[int, list[OperationRecord]] = {}
    for operation in operations:
        for iteration in operation.iterations:
            found.setdefault(iteration, []).append(operation)
    return found


def _one(
    iteration: int,
    inventory: RunInventory,
    firm: list[str],
    about: Sequence[OperationRecord],
    events: list[Event],
    scores: dict[str, float],
    record: dict[str, Any] | None,
    whole: Verified | None,
) -> CheckpointHistory:
    best_for = [
        f"{dataset}/{criterion}"
        for (dataset, criterion), target in sorted(inventory.best_targets.items())
        if target == iteration
    ]
    live = inventory.checkpoints.get(iteration)
    if live is not None:
        by = str(record["by"]) if record and record.get("by") else None
        stored = Event(live.stored, "stored", by)
        # an object store tells whole seconds
        events = sorted([*events, stored], key=lambda event: (not event.earlier, event.time))
        note = inventory.flags.marks.get(iteration) if live.marked is not None else None
        verified, verified_at = _verified(live, inventory.flags.damaged.get(iteration), whole)
        return CheckpointHistory(
            iteration=iteration,
            fate="kept" if live.marked is None else "marked",
            reasons=note.reasons if note is not None else firm,
            scores=scores,
            best_for=best_for,
            size=live.weight,
            stored=live.stored,
            pruned=note.time if note is not None else None,
            pruned_by=note.by if note is not None else None,
            restorable_until=note.reclaim_after if note is not None else None,
            damaged=live.damaged,
            verified=verified,
            verified_at=verified_at,
            events=events,
        )
    if iteration in inventory.astray:
        return CheckpointHistory(
            iteration=iteration,
            fate="kept",
            reasons=["no checkpoint; left alone, to be replaced or deleted by hand"],
            best_for=best_for,
            damaged=inventory.astray[iteration],
            verified=False,
            events=events,
        )
    last = max(about, key=lambda op: (op.kind in DELETING, op.operation))
    entry = last.iterations[iteration]
    known = last.kind in DELETING
    if entry.stored is not None:
        record = json.loads(entry.record or "{}")
        events = [*events, Event(entry.stored, "stored", record.get("by"))]
    return CheckpointHistory(
        iteration=iteration,
        fate="pruned",
        reasons=entry.reasons if known else ["not by this software, so it is not on record"],
        scores=scores or entry.scores,
        best_for=best_for,
        size=entry.bytes,
        stored=entry.stored,
        pruned=last.time if known else None,
        pruned_by=last.by if known else None,
        events=sorted(events, key=lambda event: event.time),
    )


def _verified(
    live: StoredCheckpoint, damage: Damage | None, whole: Verified | None
) -> tuple[bool | None, datetime | None]:
    """Whether a verification found this file whole, and when."""
    for outcome, note in ((False, damage), (True, whole)):
        if note is not None and note.is_of(live.size, live.stored, live.version):
            return outcome, note.time
    return None if live.damaged is None else False, None


def _interrupted(record: OperationRecord, inventory: RunInventory) -> OperationRecord:
    """Of a prune under way or broken off, what is gone, or marked, already."""
    if record.kind == "mark":
        marks = inventory.flags.marks.items()
        done = {i for i, note in marks if note and note.operation == record.operation}
    else:
        done = record.iterations.keys() - inventory.checkpoints.keys() - inventory.astray.keys()
    iterations = {i: d for i, d in record.iterations.items() if i in done}
    return record.model_copy(update={"iterations": iterations, "interrupted": True})


def _stored_records(
    filesystem: StoreFilesystem, run: str, inventory: RunInventory
) -> dict[int, dict[str, Any]]:
    paths = {layout.CHECKPOINT_RECORDS.path(run, i): i for i in inventory.checkpoints}
    found = {}
    for path, content in filesystem.read_many(paths).items():
        try:
            value = parsed_json(content)
        except ValueError:
            continue
        if isinstance(value, dict):
            found[paths[path]] = value
    return found


def _time(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _when(moment: datetime | None, by: str | None) -> str:
    when = "at an unknown time" if moment is None else f"on {_time(moment)}"
    return when + (f" by {by}" if by else "")

"""What happened to the checkpoints of a run, line by line, from its records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from dacapo_core.store.records.prune_records import OperationRecord
from dacapo_core.store.records.score_names import dataset_in_words, in_words, shown_scores
from dacapo_core.store.records.scores import ScoresRecord, best_scores
from dacapo_core.store.records.withdrawn_records import Withdrawn, WithdrawnFacts

MARKED = "pruned, within its grace period"
_SAID = {
    "prune": "pruned",
    "mark": MARKED,
    "restore": "restored",
    "reclaim": "deleted, its grace period was over",
    "remove": "removed by hand",
}
_OCCASIONS = {
    "stored again": "replaced: the iteration was stored again",
    "resumed": "scores withdrawn: training resumed before it",
    "not finite": "no longer the best: scored again, and not finite",
    "forgotten": "scores forgotten by hand",
}


@dataclass(frozen=True)
class Event:
    """Something that happened to a checkpoint: stored, scored, pruned, restored, …

    Attributes:
        earlier: to one that another checkpoint of the same iteration has replaced since.
    """

    time: datetime
    what: str
    by: str | None = None
    reasons: Sequence[str] = ()
    earlier: bool = False

    def __str__(self) -> str:
        return self.what + (" (the one before)" if self.earlier else "")


def scored(record: ScoresRecord, *, earlier: bool = False) -> Event:
    """Scores of a checkpoint on a dataset."""
    found = best_scores([record]).get(record.iteration, {})
    shown = {name.removeprefix(f"{record.dataset}/"): score for name, score in found.items()}
    dataset = dataset_in_words(record.dataset)
    missing = record.not_finite()
    what = f"scored on {dataset}: {shown_scores(shown) or 'no finite score'}"
    if shown and missing:
        what += f"; not finite: {in_words(missing)}"
    return Event(record.scored, what, record.by, earlier=earlier)


def of_operations(operations: Iterable[OperationRecord]) -> dict[int, list[Event]]:
    """Iteration → what pruning, restoring and removing did."""
    found: dict[int, list[Event]] = {}
    for record in operations:
        for iteration, entry in record.iterations.items():
            event = Event(record.time, _SAID[record.kind], record.by, entry.reasons)
            found.setdefault(iteration, []).append(event)
    return found


def of_the_one_before(
    operations: Iterable[OperationRecord], iteration: int, events: list[Event]
) -> list[Event]:
    """The events of an iteration that is there; those before a deletion are an earlier file's."""
    gone = [op for op in operations if op.kind in ("prune", "reclaim", "remove")]
    if not gone:
        return events
    last = max(op.time for op in gone)
    told = [
        Event(each.time, each.what, each.by, each.reasons, earlier=True)
        if each.time <= last
        else each
        for each in events
    ]
    for operation in gone:
        entry = operation.iterations[iteration]
        if entry.stored is not None:
            by = json.loads(entry.record or "{}").get("by")
            told.append(Event(entry.stored, "stored", by, earlier=True))
    return told


def of_withdrawn(records: Iterable[WithdrawnFacts]) -> dict[int, list[Event]]:
    """Iteration → scores, bests and pins that no longer count."""
    found: dict[int, list[Event]] = {}
    for record in records:
        for iteration, each in record.iterations.items():
            earlier = record.occasion in ("stored again", "scored late")
            events = found.setdefault(iteration, [])
            events += [scored(scores, earlier=earlier) for scores in each.scores]
            events += [Event(pin.time, str(pin), pin.by, earlier=earlier) for pin in each.pins]
            if each.stored is not None:
                events.append(Event(each.stored, "stored", each.stored_by, earlier=earlier))
            if record.occasion in _OCCASIONS:
                what = _OCCASIONS[record.occasion]
                events.append(Event(record.time, what, record.by, _bests(each)))
    return found


def _bests(withdrawn: Withdrawn) -> list[str]:
    return [f"was best of {name}" for name in withdrawn.best]

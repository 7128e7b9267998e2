"""What became of each checkpoint of a run: the plain values that the pruning pages show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dacapo_core.store.prune_plan import PrunePlan
    from dacapo_core.store.prune_records import OperationRecord
    from dacapo_core.store.scores import BestRecord, Judged

Fate = Literal["kept", "marked", "pruned"]


@dataclass(frozen=True)
class CheckpointFate:
    """One checkpoint: kept, marked (pruned, but within its grace period) or pruned.

    ``scores`` are by ``<dataset>/<criterion>``; ``size`` is in bytes; ``best_for`` are the
    ``<dataset>/<criterion>`` whose best it is.
    """

    iteration: int
    fate: Fate
    reasons: Sequence[str] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    best_for: Sequence[str] = ()
    size: int | None = None
    stored_at: datetime | None = None
    pruned_at: datetime | None = None
    pruned_by: str | None = None


def disk_use(history: Sequence[CheckpointFate]) -> list[tuple[datetime, int]]:
    """Bytes on disk after each store and each prune, in order of time.

    Checkpoints of unknown size or time are left out.
    """
    changes: list[tuple[datetime, int]] = []
    for checkpoint in history:
        if checkpoint.size is None or checkpoint.stored_at is None:
            continue
        changes.append((checkpoint.stored_at, checkpoint.size))
        if checkpoint.fate == "pruned" and checkpoint.pruned_at is not None:
            changes.append((checkpoint.pruned_at, -checkpoint.size))
    levels: list[tuple[datetime, int]] = []
    total = 0
    for moment, change in sorted(changes):
        total += change
        levels.append((moment, total))
    return levels


def total_bytes(history: Sequence[CheckpointFate], fate: Fate) -> int:
    """Bytes of all checkpoints with that fate, as far as their sizes are known."""
    return sum(checkpoint.size or 0 for checkpoint in history if checkpoint.fate == fate)


def score_curves(history: Sequence[CheckpointFate]) -> dict[str, list[tuple[int, float]]]:
    """(iteration, score) by ``<dataset>/<criterion>``, in order of iteration."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for checkpoint in sorted(history, key=lambda checkpoint: checkpoint.iteration):
        for name, score in checkpoint.scores.items():
            curves.setdefault(name, []).append((checkpoint.iteration, score))
    return curves


def fates(
    plan: PrunePlan,
    operations: Sequence[OperationRecord] = (),
    scores: Mapping[int, Mapping[str, float]] | None = None,
    best: Mapping[Judged, BestRecord] | None = None,
) -> list[CheckpointFate]:
    """What became of every checkpoint that a run has or had, in order of iteration.

    Args:
        plan: what pruning just decided, or would decide, of those that are there.
        operations: what was done before, in order of time.
        scores: iteration → ``<dataset>/<criterion>`` → score.
        best: the best records.
    """
    best_for: dict[int, list[str]] = {}
    for (dataset, criterion), record in sorted((best or {}).items()):
        best_for.setdefault(record.iteration, []).append(f"{dataset}/{criterion}")
    gone = _departures(operations)
    found: dict[int, CheckpointFate] = {}
    for iteration, checkpoint in plan.checkpoints.items():
        kept = iteration in plan.kept
        left = None if kept else gone.get(iteration)
        within_grace = plan.grace is not None or checkpoint.marked is not None
        found[iteration] = CheckpointFate(
            iteration,
            "kept" if kept else "marked" if within_grace else "pruned",
            reasons=(plan.kept if kept else plan.pruned)[iteration],
            scores=(scores or {}).get(iteration) or plan.scores.get(iteration, {}),
            best_for=best_for.get(iteration, []),
            size=checkpoint.size,
            stored_at=checkpoint.stored,
            pruned_at=left.pruned_at if left else None,
            pruned_by=left.pruned_by if left else None,
        )
    return [(gone | found)[iteration] for iteration in sorted(gone | found)]


def _departures(operations: Sequence[OperationRecord]) -> dict[int, CheckpointFate]:
    """The last departure of each iteration, as its record tells it."""
    gone: dict[int, CheckpointFate] = {}
    for operation in operations:
        if operation.kind in ("restore", "withdraw"):
            continue
        for iteration, departure in operation.iterations.items():
            earlier = gone.get(iteration)
            reclaimed = operation.kind == "reclaim" and earlier is not None
            gone[iteration] = CheckpointFate(
                iteration,
                "marked" if operation.kind == "mark" else "pruned",
                reasons=earlier.reasons if reclaimed and earlier else departure.reasons,
                scores=departure.scores or (earlier.scores if earlier else {}),
                size=departure.bytes or (earlier.size if earlier else None),
                stored_at=departure.stored or (earlier.stored_at if earlier else None),
                pruned_at=operation.time,
                pruned_by=operation.by,
            )
    return gone

"""What became of each checkpoint of a run: the plain values that the pruning pages show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

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

"""Figures of a run's checkpoints, kept and gone, that the pruning page shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from dacapo_core.store.pruning.plan import PrunePlan
from dacapo_core.store.records.history import CheckpointHistory, Fate
from dacapo_core.store.records.run_overview import disk_levels


def planned(
    history: Iterable[CheckpointHistory], plan: PrunePlan | None
) -> list[CheckpointHistory]:
    """The history as a plan has it: kept ones with all their reasons, and what a dry run would do.

    In order of iteration. Without a plan, kept ones have the reasons that hold without a policy.
    """
    in_order = sorted(history, key=lambda checkpoint: checkpoint.iteration)
    if plan is None:
        return in_order
    found = []
    for checkpoint in in_order:
        iteration = checkpoint.iteration
        # it may have been pruned since by another hand
        if iteration in plan.kept and checkpoint.fate != "pruned":
            checkpoint = replace(checkpoint, fate="kept", reasons=plan.kept[iteration])
        elif plan.dry_run and iteration in plan.doomed:
            fate: Fate = "pruned" if plan.grace is None else "marked"
            checkpoint = replace(checkpoint, fate=fate, reasons=plan.pruned[iteration])
        found.append(checkpoint)
    return found


def disk_use(history: Iterable[CheckpointHistory]) -> list[tuple[datetime, int]]:
    """Bytes on disk after each store and each prune, in order of time.

    Checkpoints of unknown size or time are left out.
    """
    return [(level.time, level.on_disk) for level in disk_levels(history, most=None)]


def score_curves(history: Sequence[CheckpointHistory]) -> dict[str, list[tuple[int, float]]]:
    """(iteration, score) by ``<dataset>/<criterion>``, in order of iteration."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for checkpoint in sorted(history, key=lambda checkpoint: checkpoint.iteration):
        for name, score in checkpoint.scores.items():
            curves.setdefault(name, []).append((checkpoint.iteration, score))
    return curves

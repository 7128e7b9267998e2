"""Move the best pointers of a run to where its scores say."""

from __future__ import annotations

from tasks.publish_store import publish_store
from tasks.runtime.events import emit_checkpoint_event
from tasks.runtime.open_stores import open_store
from tasks.runtime.task_decorator import task


@task("best of {run}", at_iteration=True)
def store_best(run: str, store: str | None = None, judged: int | None = None) -> dict[str, int]:
    """Derive the best of every dataset and criterion from all scores of the run.

    Scores may come late and in any order, from validators on other machines: the answer is the
    same. One event says of which an iteration became the best.

    Args:
        judged: an iteration whose validation ends with this; it may be pruned from here on.

    Returns:
        ``<dataset>/<criterion>`` → iteration, of the pointers that moved.
    """
    opened = open_store(store)
    moved: dict[str, int] = {}
    scores: dict[int, dict[str, float | None]] = {}
    for (dataset, criterion), record in opened.derive_best(run).items():
        moved[f"{dataset}/{criterion}"] = record.iteration
        scores.setdefault(record.iteration, {})[f"{dataset}/{criterion}"] = record.score
    if judged is not None:
        opened.end_validation(run, judged)
    for iteration, best_for in scores.items():
        emit_checkpoint_event("best", run, opened, iteration=iteration, best_for=best_for)
    publish_store(run, opened)
    return moved

"""Move the best pointers of a run to where its scores say."""

from __future__ import annotations

from tasks.events import emit_checkpoint_event
from tasks.step import step
from tasks.stores import open_store


@step("best of {run}")
def store_best(run: str, store: str | None = None) -> dict[str, int]:
    """Derive the best of every dataset and criterion from all scores of the run.

    Scores may come late and in any order, from validators on other machines: the answer is the
    same.

    Returns:
        ``<dataset>/<criterion>`` → iteration, of the pointers that moved.
    """
    opened = open_store(store)
    moved: dict[str, int] = {}
    for (dataset, criterion), record in opened.derive_best(run).items():
        moved[f"{dataset}/{criterion}"] = record.iteration
        emit_checkpoint_event(
            "best",
            run,
            iteration=record.iteration,
            dataset=dataset,
            criterion=criterion,
            score=record.score,
            store=opened.basedir,
        )
    return moved

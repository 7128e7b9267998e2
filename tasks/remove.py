"""Remove one checkpoint."""

from __future__ import annotations

from tasks.publish_pruning import publish_pruning
from tasks.runtime.events import emit_pruned
from tasks.runtime.open_stores import open_store
from tasks.runtime.provenance import who
from tasks.runtime.task_decorator import task


@task("remove {run} {iteration}")
def remove(run: str, iteration: int, store: str | None = None, force: bool = False) -> None:
    """Remove a checkpoint for good; the latest or a best one only with ``force``.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        StoreError: it is the latest, the best by some criterion, pinned or in use, and ``force``
            is False.
    """
    opened = open_store(store)
    opened.remove(run, iteration, force=force, by=who())
    gone = opened.history(run).checkpoints[iteration]
    emit_pruned("remove", run, opened, {iteration: gone.reasons}, gone.size)
    publish_pruning(run, opened)

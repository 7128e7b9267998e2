"""Bring a marked checkpoint back."""

from __future__ import annotations

from dacapo_core.store.records.history_events import MARKED
from tasks.publish_pruning import publish_pruning
from tasks.runtime.events import emit_checkpoint_event
from tasks.runtime.open_stores import open_store
from tasks.runtime.provenance import who
from tasks.runtime.task_decorator import task


@task("restore {run} {iteration}")
def restore(run: str, iteration: int, store: str | None = None) -> bool:
    """Keep a checkpoint that pruning had marked, within its grace period, until it is unpinned.

    Returns:
        False when it was not marked, so that nothing had to be done.

    Raises:
        FileNotFoundError: it was never there, or has been reclaimed: then with when and why.
    """
    opened = open_store(store)
    restored = opened.restore(run, iteration, by=who())
    if restored:
        checkpoint = opened.history(run).checkpoints[iteration]
        publish_pruning(run, opened)
        marks = [list(each.reasons) for each in checkpoint.events if each.what == MARKED]
        emit_checkpoint_event(
            "restored",
            run,
            opened,
            iteration=iteration,
            bytes=checkpoint.size,
            marked_for=marks[-1] if marks else [],
        )
    return restored

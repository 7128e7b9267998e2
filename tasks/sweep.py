"""Reclaim what is past its grace period and what dead writers left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.logging import get_run_logger

from tasks.pages.formatting import first_few, readable_bytes
from tasks.pages.run_pruning import shown_reasons
from tasks.publish_pruning import publish_pruning
from tasks.runtime.events import emit_pruned
from tasks.runtime.open_stores import open_store
from tasks.runtime.provenance import who
from tasks.runtime.task_decorator import task

if TYPE_CHECKING:
    from dacapo_core.store.pruning.trash import Sweep


@task("sweep {run}")
def sweep(run: str, store: str | None = None) -> Sweep:
    """Sweep a run and show its history if that deleted anything; safe beside a running trainer.

    Returns:
        What was done; its ``failed`` are logged.

    Raises:
        StoreError: the store cannot be written, or a record is damaged; nothing was deleted.
    """
    opened = open_store(store)
    done = opened.sweep(run, by=who())[run]
    if done.failed:
        get_run_logger().warning("%s: not reclaimed: %s", run, first_few(done.failed))
    if done.reclaimed:
        emit_pruned("reclaim", run, opened, done.reclaimed, done.bytes_freed)
        get_run_logger().info(
            "%s: %d reclaimed past their grace period, %s freed. %s",
            run,
            len(done.reclaimed),
            readable_bytes(done.bytes_freed),
            shown_reasons(done.reclaimed),
        )
        publish_pruning(run, opened)
    return done

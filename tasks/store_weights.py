"""Store the state of a live run."""

from __future__ import annotations

from contextlib import suppress

from dacapo_core.store import layout
from tasks.publish_training_status import note_training
from tasks.runtime.events import emit_checkpoint_event
from tasks.runtime.runs_in_training import live_run
from tasks.runtime.start_pins import release_start
from tasks.runtime.task_decorator import task


@task("store {run} {iteration}")
def store_weights(run: str, iteration: int) -> None:
    """Copy the state and let it be written while the run goes on; ``settle`` waits for it.

    Raises:
        LeaseLostError: another process has taken the run over meanwhile; nothing is stored.
        StoreError: an earlier checkpoint could not be written.
    """
    live = live_run(run)
    live.progress.phase("storing")
    live.check_lease()
    live.store.store_weights(live.run, iteration, wait=False)
    if live.stats_since_checkpoint is not None:
        live.store.store_training_stats(run, iteration, live.stats_since_checkpoint.record())
    note_training(live)


@task("settle {run} {iteration}")
def settle(run: str, iteration: int) -> None:
    """Wait until what was stored is durable, then say so with ``dacapo.checkpoint.stored``.

    Raises:
        StoreError: it could not be written; nothing stored before is lost.
    """
    live = live_run(run)
    live.store.wait()
    if live.start_pinned:
        release_start(live)
    size = None
    with suppress(FileNotFoundError):
        size = live.store.filesystem.file_info(layout.checkpoint_path(run, iteration)).size
    emit_checkpoint_event("stored", run, live.store, iteration=iteration, bytes=size)

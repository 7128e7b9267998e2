"""Publish what became of each checkpoint of a run: its page and its table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks.pages.checkpoint_history import planned, total_bytes
from tasks.pages.pruning_page import pruning_page, pruning_table
from tasks.pages.wording import readable_bytes
from tasks.publishing import artifact_key, publisher

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.store.pruning.prune_plan import PrunePlan


def publish_pruning(run: str, store: LocalWeightsStore, plan: PrunePlan | None = None) -> None:
    """Show a run's checkpoints as they are now; every task that changes what is kept ends here.

    Args:
        plan: of the pruning that has just been carried out, for all its reasons to keep. That of
            a dry run is shown under a key of its own.
    """
    history = planned(store.history(run).checkpoints.values(), plan)
    dry_run = plan is not None and plan.dry_run
    page, what = ("prune-plan", "would become") if dry_run else ("pruning", "became")
    publisher.table(
        artifact_key(f"{page}-table", run),
        pruning_table(history, datetime.now(UTC)),
        f"What {what} of each checkpoint of {run}",
    )
    publisher.page(
        artifact_key(page, run),
        pruning_page(run, history, store_url=store.basedir),
        f"Checkpoints of {run}: {readable_bytes(total_bytes(history, 'kept'))} kept",
        # it holds the whole history, and pictures: a version for each interval would be waste
        update=True,
    )

"""Let go of the checkpoints that nothing asks to keep."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dacapo_core.store.retention import RetentionPolicy
from tasks.events import emit_checkpoint_event
from tasks.pages.checkpoint_history import planned
from tasks.pages.pruning_page import pruning_page, pruning_table
from tasks.pages.wording import readable_bytes
from tasks.provenance import who
from tasks.publishing import artifact_key, publisher
from tasks.step import step
from tasks.stores import open_store, place_of

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.store.pruning.prune_plan import PrunePlan


@step("prune {run}")
def prune(
    run: str, policy: RetentionPolicy, store: str | None = None, dry_run: bool = False
) -> dict[int, list[str]]:
    """Prune a run by a policy and show its history; a dry run shows the plan and does nothing.

    Returns:
        Iteration → reasons, of the checkpoints that went (or would go).

    Raises:
        FileNotFoundError: there is no such run.
        RetentionError: the policy does not fit the run; nothing was pruned.
    """
    opened = open_store(store)
    plan = opened.prune(run, policy, dry_run=dry_run, by=who())
    gone = {iteration: plan.pruned[iteration] for iteration in plan.doomed}
    if gone and not dry_run:
        emit_checkpoint_event(
            "pruned",
            run,
            iterations=sorted(gone),
            reasons={str(iteration): reasons for iteration, reasons in gone.items()},
            bytes=sum(plan.checkpoints[iteration].size for iteration in gone),
            store=place_of(opened),
        )
    _publish(run, opened, plan)
    return gone


def _publish(run: str, store: LocalWeightsStore, plan: PrunePlan) -> None:
    """Show the run's history, or what a dry run would make of it under a key of its own."""
    history = planned(store.history(run).checkpoints.values(), plan)
    page, what = ("prune-plan", "would become") if plan.dry_run else ("pruning", "became")
    publisher.table(
        artifact_key(f"{page}-table", run),
        pruning_table(history, datetime.now(UTC)),
        f"What {what} of each checkpoint of {run}",
    )
    publisher.page(
        artifact_key(page, run),
        pruning_page(run, history, store_url=store.basedir),
        f"Checkpoints of {run}: {readable_bytes(plan.bytes_kept)} kept",
        # it holds the whole history, and pictures: a version for each interval would be waste
        update=True,
    )

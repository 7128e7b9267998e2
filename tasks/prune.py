"""Let go of the checkpoints that nothing asks to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.logging import get_run_logger

from dacapo_core.store.retention import RetentionPolicy
from tasks.pages.formatting import first_few
from tasks.publish_pruning import publish_pruning, publish_rehearsal
from tasks.runtime.events import emit_pruned
from tasks.runtime.open_stores import open_store
from tasks.runtime.provenance import who
from tasks.runtime.task_decorator import task

if TYPE_CHECKING:
    from dacapo_core.store.pruning.plan import PrunePlan


@task("prune {run}", at_iteration=True)
def prune(
    run: str, policy: RetentionPolicy, store: str | None = None, dry_run: bool = False
) -> PrunePlan:
    """Prune a run by a policy and show its history; a dry run only shows what it would do.

    Returns:
        What became of each checkpoint (or would become); its ``failed`` are logged.

    Raises:
        FileNotFoundError: there is no such run.
        RetentionError: the policy does not fit the run; nothing was pruned.
    """
    opened = open_store(store)
    plan = opened.prune(run, policy, dry_run=dry_run, by=who())
    if plan.failed:
        get_run_logger().warning("%s: not deleted: %s", run, first_few(plan.failed))
    for note in plan.notes:
        get_run_logger().info("%s: %s", run, note)
    if plan.doomed or dry_run:
        emit_pruned(
            "prune" if plan.grace is None else "mark",
            run,
            opened,
            {iteration: plan.pruned[iteration] for iteration in plan.doomed},
            plan.bytes_freed,
            restorable_until=plan.reclaim_after,
            rehearsed=dry_run,
        )
    if dry_run:
        publish_rehearsal(run, opened, plan, policy)
    else:
        publish_pruning(run, opened, plan)
    return plan

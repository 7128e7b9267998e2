"""Publish what became of each checkpoint of a run, or what pruning would do: a page and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.pages.checkpoint_history import planned
from tasks.pages.pruning_page import pruning_page
from tasks.pages.pruning_rehearsal import rehearsal_page
from tasks.pages.run_pruning import RunPruning, figures
from tasks.publish_store import publish_store
from tasks.runtime.artifacts import publisher
from tasks.runtime.ui_paths import artifact_key, page_path

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.store.pruning.plan import PrunePlan
    from dacapo_core.store.records.history import CheckpointHistory
    from dacapo_core.store.retention import RetentionPolicy


def publish_pruning(run: str, store: LocalWeightsStore, plan: PrunePlan | None = None) -> None:
    """Show a run's checkpoints as they are now; every task that changes what is kept ends here.

    The pages are made when they are sent, and nobody waits for them.

    Args:
        plan: of the pruning that has just been carried out, for all its reasons to keep.
    """
    reader = store.on_record()

    def history() -> list[CheckpointHistory]:
        return planned(reader.history(run).checkpoints.values(), plan)

    publisher.page(
        artifact_key("pruning", run),
        lambda: pruning_page(run, history(), store_url=store.basedir),
        f"Checkpoints of {run}: what is kept, and what was let go of and why",
    )
    publish_store(run, store)


def publish_rehearsal(
    run: str, store: LocalWeightsStore, plan: PrunePlan, policy: RetentionPolicy
) -> None:
    """Show what a policy would do to a run, under a key of its own."""
    history = planned(store.history(run).checkpoints.values(), plan)
    publisher.page(
        artifact_key("prune-plan", run),
        rehearsal_page(
            run,
            history,
            plan,
            policy,
            store_url=store.basedir,
            pruning_path=page_path("pruning", run),
        ),
        f"Pruning of {run}: {figures([RunPruning(run, plan)])}",
    )

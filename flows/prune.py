"""The flow that applies a retention policy to many runs."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from prefect import flow
from prefect.runtime import flow_run

from dacapo_core.store.retention import RetentionPolicy
from tasks.pages.pruning_summary import RunPruning, pruning_summary
from tasks.prune import prune as prune_run
from tasks.publishing import publisher
from tasks.stores import open_store, store_url
from tasks.sweep import sweep

DEFAULT_RETENTION = RetentionPolicy(keep_last=3, keep_best=3, keep_daily=7, grace="7d")


class PruningFailedError(RuntimeError):
    """Some runs, or some of their checkpoints, could not be pruned; the others were."""


def _flow_run_name() -> str:
    runs = flow_run.parameters["runs"]
    return f"prune {runs if isinstance(runs, str) else ', '.join(runs)}"


@flow(name="prune", flow_run_name=_flow_run_name, persist_result=False)
def prune(
    runs: str | list[str] = "*",
    policy: RetentionPolicy = DEFAULT_RETENTION,
    dry_run: bool = False,
    store: str | None = None,
) -> dict[str, list[int]]:
    """Apply a retention policy to runs of a store, and reclaim what is past its grace period.

    A run that cannot be pruned is reported and does not stop the others.

    Args:
        runs: A name, a pattern such as `mito-*`, or a list of them. Default: every run of the
            store.
        policy: Which checkpoints to keep; best, latest and pinned ones always are.
        dry_run: Only show what would be done.
        store: Path or URL of the weights store, or "block:" and the name of a weights store
            block. Default: the one that the settings name.

    Returns:
        Run → iterations that were deleted or marked, or would be.

    Raises:
        FileNotFoundError: a name or pattern fits no run.
        PruningFailedError: some runs, or some of their checkpoints, could not be pruned; it names
            each with its error.
    """
    chosen = choose([runs] if isinstance(runs, str) else runs, open_store(store).runs())
    with publisher.caught_up():
        done = [_pruned(name, policy, store, dry_run) for name in chosen]
        publisher.page(
            "pruning-summary",
            pruning_summary(store_url(store), done, dry_run=dry_run),
            f"Pruning of {len(chosen)} runs",
        )
    if failures := [f"{each.run}: {each.failure}" for each in done if each.failure]:
        raise PruningFailedError("; ".join(failures))
    return {each.run: each.let_go for each in done}


def _pruned(run: str, policy: RetentionPolicy, store: str | None, dry_run: bool) -> RunPruning:
    """Sweep and prune one run; what goes wrong with it is said in the answer."""
    swept = plan = None
    try:
        # first, so that the page that pruning publishes shows what has been reclaimed as gone
        swept = None if dry_run else sweep(run, store)
        plan = prune_run(run, policy, store, dry_run)
    except Exception as error:
        return RunPruning(run, plan, swept, f"{type(error).__name__}: {error}")
    return RunPruning(run, plan, swept)


def choose(patterns: Sequence[str], runs: Sequence[str]) -> list[str]:
    """The runs that a name or pattern means. A name is taken literally before it is a pattern.

    Raises:
        FileNotFoundError: one means no run.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        meant = {pattern} & set(runs) or {run for run in runs if fnmatchcase(run, pattern)}
        if not meant and pattern != "*":
            raise FileNotFoundError(
                f"no run {pattern!r}; the store's runs: {', '.join(runs) or 'none'}"
            )
        chosen |= meant
    return sorted(chosen)

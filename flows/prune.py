"""The flow that applies a retention policy to many runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from dacapo_core.store.missing_store import why_no_runs
from dacapo_core.store.retention import RetentionPolicy
from dacapo_core.store.run_patterns import choose_runs
from flows.flow_decorator import completed, flow
from tasks.pages.pruning_summary import pruning_summary, summary_line
from tasks.pages.run_pruning import RunPruning
from tasks.prune import prune as prune_run
from tasks.runtime.artifacts import publisher
from tasks.runtime.open_stores import open_store, store_url
from tasks.runtime.ui_paths import page_path
from tasks.sweep import sweep

DEFAULT_RETENTION = RetentionPolicy(keep_last=3, keep_best=3, keep_daily=7, grace="7d")


SHOWN_RUNS = 5

NotEmpty = Field(min_length=1)


class PruningFailedError(RuntimeError):
    """Some runs, or some of their checkpoints, could not be pruned; the others were."""


def _flow_run_name() -> str:
    runs = flow_run.parameters["runs"]
    return f"prune {runs if isinstance(runs, str) else ', '.join(runs)}"


@flow("prune", _flow_run_name)
def prune(
    runs: Annotated[str, NotEmpty] | Annotated[list[str], NotEmpty] = "*",
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
        FileNotFoundError: there is no such store, or a name or pattern fits no run; nothing was
            pruned and no page was written.
        PruningFailedError: some runs, or some of their checkpoints, could not be pruned; it names
            them with their errors.
    """
    opened = open_store(store)
    opened.require_store()
    chosen = choose_runs(opened, [runs] if isinstance(runs, str) else runs)
    for name, what in opened.damaged_runs().items():
        get_run_logger().warning("run %r is damaged and left out: it is %s", name, what)
    none = "" if chosen else why_no_runs(opened.filesystem)
    if none:
        get_run_logger().warning("%s", none)
    with publisher.caught_up():
        done = [_pruned(name, policy, store, dry_run) for name in chosen]
        page = "prune-plan" if dry_run else "pruning"
        pages = {each.run: page_path(page, each.run) for each in done if each.plan is not None}
        publisher.page(
            "pruning-summary",
            pruning_summary(store_url(store), done, policy, pages, dry_run=dry_run, why_none=none),
            f"Pruning of {summary_line(done)}",
            leads=True,
        )
    if failures := {each.run: each.failure for each in done if each.failure}:
        raise PruningFailedError(grouped(failures))
    return completed(summary_line(done), {each.run: each.let_go for each in done})


def grouped(failures: Mapping[str, str]) -> str:
    """What went wrong, by run; what went wrong alike is said once."""
    runs: dict[str, list[str]] = {}
    for run, failure in failures.items():
        runs.setdefault(failure, []).append(run)
    return "; ".join(f"{_shown_runs(names)}: {failure}" for failure, names in runs.items())


def _shown_runs(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    more = len(names) - SHOWN_RUNS
    return f"{len(names)} runs ({', '.join(names[:SHOWN_RUNS])}{f', {more} more' * (more > 0)})"


def _pruned(run: str, policy: RetentionPolicy, store: str | None, dry_run: bool) -> RunPruning:
    """Sweep and prune one run, and log what that came to; what goes wrong is in the answer."""
    swept = plan = error = None
    try:
        # first, so that the page that pruning publishes shows what has been reclaimed as gone
        swept = None if dry_run else sweep(run, store)
        plan = prune_run(run, policy, store, dry_run)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    done = RunPruning(run, plan, swept, error)
    if error is None:
        get_run_logger().info(done.line())
    else:
        get_run_logger().error("%s: %s", run, error)
    return done

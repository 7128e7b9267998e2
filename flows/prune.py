"""The flow that applies a retention policy to many runs."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from prefect import flow

from dacapo_core.store.retention import RetentionPolicy
from tasks.pages.wording import markdown_table
from tasks.prune import prune as prune_run
from tasks.publishing import publisher
from tasks.stores import open_store, store_url
from tasks.sweep import sweep

DEFAULT_RETENTION = RetentionPolicy(keep_last=3, keep_best=3, keep_daily=7, grace="7d")


class PruningFailedError(RuntimeError):
    """Some runs could not be pruned; the others were."""


@flow(name="prune", flow_run_name="prune {runs}", persist_result=False)
def prune(
    runs: list[str] = ["*"],  # noqa: B006
    store: str | None = None,
    retention: RetentionPolicy = DEFAULT_RETENTION,
    dry_run: bool = False,
) -> dict[str, list[int]]:
    """Apply a retention policy to runs of a store, and reclaim what is past its grace period.

    A run that cannot be pruned is reported and does not stop the others.

    Args:
        runs: Names, or patterns such as `mito-*`. Default: every run of the store.
        store: Path or URL of the weights store, or "block:" and the name of a weights store
            block. Default: the one that the settings name.
        retention: Which checkpoints to keep; best, latest and pinned ones always are.
        dry_run: Only show what would be done.

    Raises:
        FileNotFoundError: a name or pattern fits no run.
        PruningFailedError: some runs could not be pruned; it names each with its error.
    """
    chosen = choose(runs, open_store(store).runs())
    pruned: dict[str, list[int]] = {}
    failed: dict[str, str] = {}
    with publisher.caught_up():
        for name in chosen:
            try:
                pruned[name] = sorted(prune_run(name, retention, store, dry_run))
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {error}"
        if not dry_run:
            sweep(store)
        publisher.page(
            "pruning-summary",
            summary_page(store_url(store), pruned, failed, dry_run),
            f"Pruning of {len(chosen)} runs",
        )
    if failed:
        raise PruningFailedError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    return pruned


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


def summary_page(
    store: str, pruned: dict[str, list[int]], failed: dict[str, str], dry_run: bool
) -> str:
    """What became of each run, as markdown."""
    went = "would go" if dry_run else "went"
    rows = [
        (name, str(len(gone)), ", ".join(map(str, gone[:20])) + (" …" if len(gone) > 20 else ""))
        for name, gone in sorted(pruned.items())
    ]
    rows += [(name, "–", f"**not pruned**: {why}") for name, why in sorted(failed.items())]
    title = "Dry run: what pruning would do" if dry_run else "Pruned"
    table = markdown_table(["run", f"checkpoints that {went}", "iterations"], rows)
    return f"# {title}\n\nStore: `{store}`\n\n{table if rows else 'The store has no runs.'}"

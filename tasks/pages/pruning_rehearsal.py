"""What pruning one run would do: a page and a table in the conditional."""

from __future__ import annotations

from collections.abc import Sequence

from dacapo_core.store.pruning.plan import PrunePlan
from dacapo_core.store.pruning.policy_words import policy_in_words, prune_command
from dacapo_core.store.records.history import CheckpointHistory
from dacapo_core.store.retention import RetentionPolicy
from tasks.pages.checkpoint_ranges import in_rows
from tasks.pages.formatting import markdown_link, markdown_table, readable_bytes
from tasks.pages.run_pruning import UNTOUCHED, RunPruning, figures


def rehearsal_page(
    run: str,
    history: Sequence[CheckpointHistory],
    plan: PrunePlan,
    policy: RetentionPolicy,
    *,
    store_url: str,
    pruning_path: str,
) -> str:
    """The page as markdown: what would go and why, what would stay, and how to do it.

    Args:
        history: the checkpoints, as `planned` has them.
        pruning_path: path of the page of what has become of the run's checkpoints.
    """
    would = "marked" if plan.grace is not None else "pruned"
    said = figures([RunPruning(run, plan)])
    parts = [
        f"# Rehearsal: what pruning would do to {run}; {UNTOUCHED}",
        f"**{said[0].upper()}{said[1:]}.** Policy: {policy_in_words(policy)}. "
        f"Store: `{store_url}`. What has been pruned so far: "
        f"{markdown_link(f'checkpoints of {run}', pruning_path)}.",
        f"## Would be {would}",
        _table(history, set(plan.doomed), run),
        "## Would be kept",
        _table(history, set(plan.kept), run),
        *(f"*{note}*" for note in plan.notes),
        "## To do it",
        f"`{prune_command(policy, run, store_url)}`, or the form of `prune/nightly` with this "
        "policy and without `dry_run`.",
    ]
    return "\n\n".join(parts)


def _table(history: Sequence[CheckpointHistory], chosen: set[int], run: str) -> str:
    ranges, left_out = in_rows(each for each in history if each.iteration in chosen)
    if not ranges:
        return "None."
    table = markdown_table(
        ["iteration", "why", "score", "size"],
        [
            (each.iterations, each.why, each.score or "–", readable_bytes(each.size))
            for each in ranges
        ],
    )
    return f"{table}\n\n… and {left_out} older ones." if left_out else table

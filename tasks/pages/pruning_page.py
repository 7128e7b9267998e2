"""The pruning history of a run: a table of its checkpoints and a page that explains it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from dacapo_core.store.records.history import CheckpointHistory
from dacapo_core.store.records.run_overview import checkpoints_note
from tasks.pages.checkpoint_history import disk_use, score_curves
from tasks.pages.checkpoint_ranges import CheckpointRange, in_rows
from tasks.pages.drawing import disk_use_chart, fate_strip, markdown_picture
from tasks.pages.formatting import command_on, markdown_table, readable_bytes
from tasks.pages.score_charts import best_table, score_charts

NOTHING = "nothing: the next pruning decides"


def pruning_page(
    run: str,
    history: Sequence[CheckpointHistory],
    *,
    store_url: str,
) -> str:
    """The page as markdown: first what went and why, then what is kept, its scores, disk use.

    Its size is bounded by `in_rows`, by the boxes of the strip, and by the points of each curve:
    it grows with the criteria of a run, not with its checkpoints.

    Args:
        history: every checkpoint of the run, kept or gone.
    """
    best = {name: each.iteration for each in history for name in each.best_for}
    held = checkpoints_note(history)
    kept, gone = _kept_and_gone(history)
    parts = [
        f"# Checkpoints of {run}",
        f"**{held.kept} kept** ({readable_bytes(held.kept_bytes)}), {held.marked} marked "
        f"({readable_bytes(held.marked_bytes)}, can be restored), {held.pruned} pruned "
        f"({readable_bytes(held.freed_bytes)} freed). Store: `{store_url}`",
        markdown_picture("kept and pruned checkpoints", fate_strip(history)),
        "## Marked and pruned",
        _gone_table(run, *gone),
        "## Can I have one back?",
        "A *marked* checkpoint is still whole, at least until the time that its row says: "
        f"`{command_on('restore', run, store_url)}`. It is pinned then: no pruning takes it until "
        f"`{command_on('unpin', run, store_url)}`. "
        "A *pruned* one is gone; its row, or that of the range it is in, says when, why and by "
        "which flow run, and what it scored. "
        f"To keep one for good: `{command_on('pin', run, store_url)}`.",
        "## Kept",
        _kept_table(run, *kept),
        "## Best",
        _best_table(best, history),
        "## Scores",
        score_charts(score_curves(history), best),
        "## Disk use",
        markdown_picture("bytes on disk over time", disk_use_chart(disk_use(history))),
    ]
    return "\n\n".join(parts)


def _best_table(best: Mapping[str, int], history: Sequence[CheckpointHistory]) -> str:
    by_iteration = {each.iteration: each for each in history}
    return best_table({name: (at, by_iteration[at].scores.get(name)) for name, at in best.items()})


def _kept_and_gone(
    history: Sequence[CheckpointHistory],
) -> tuple[tuple[list[CheckpointRange], int], tuple[list[CheckpointRange], int]]:
    kept = [each for each in history if each.fate == "kept"]
    return in_rows(kept), in_rows(each for each in history if each.fate != "kept")


def _kept_table(run: str, ranges: Sequence[CheckpointRange], left_out: int) -> str:
    if not ranges:
        return "None."
    rows = [
        (each.iterations, each.why or NOTHING, each.score or "–", readable_bytes(each.size))
        for each in ranges
    ]
    return markdown_table(["iteration", "why", "score", "size"], rows) + _more(run, left_out)


def _gone_table(run: str, ranges: Sequence[CheckpointRange], left_out: int) -> str:
    if not ranges:
        return "None."
    rows = [
        (
            each.iterations,
            each.fate,
            each.why,
            each.score or "–",
            each.pruned,
            _by(each.first.pruned_by),
            readable_bytes(each.size),
        )
        for each in ranges
    ]
    header = ["iteration", "fate", "why", "score", "when", "by", "size"]
    return markdown_table(header, rows) + _more(run, left_out)


def _more(run: str, left_out: int) -> str:
    if not left_out:
        return ""
    why = shlex.join(["dacapo-store", "why", run])
    return f"\n\n… and {left_out} older ones: `{why} ITERATION` tells of each."


def _by(who: str | None) -> str:
    """A flow run as a link to its page; another hand as it is on record."""
    if who is None:
        return "–"
    found = re.fullmatch(r"flow run ([^\[\]]+) \(([0-9a-f-]{36})\)", who)
    return f"[{found[1]}](/v2/runs/flow-run/{found[2]})" if found else who

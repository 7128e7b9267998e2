"""The pruning history of a run: a table of its checkpoints and a page that explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from dacapo_core.store.records.history import CheckpointHistory
from dacapo_core.store.records.scores import gathered_reasons
from tasks.pages.checkpoint_history import disk_use, score_curves, total_bytes
from tasks.pages.drawing import disk_use_chart, fate_strip, markdown_picture
from tasks.pages.score_charts import score_charts
from tasks.pages.wording import (
    markdown_table,
    readable_age,
    readable_bytes,
    readable_score,
)

MOST_ROWS = 300


def pruning_table(history: Sequence[CheckpointHistory], now: datetime) -> list[dict[str, str]]:
    """One row a checkpoint, newest iteration first, for a table artifact.

    At most 300 rows: kept ones first, then the newest of the others; the rest is counted in a
    last row.
    """
    chosen = sorted(
        sorted(history, key=lambda each: (each.fate != "kept", -each.iteration))[:MOST_ROWS],
        key=lambda each: -each.iteration,
    )
    rows = [
        {
            "iteration": str(each.iteration),
            "fate": each.fate,
            "size": readable_bytes(each.size),
            "why": "; ".join(gathered_reasons(each.reasons)),
            "scores": ", ".join(
                f"{name} {readable_score(score)}" for name, score in each.scores.items()
            ),
            "age": readable_age(each.stored, now),
            "pruned": _when(each.pruned),
            "by": each.pruned_by or "",
        }
        for each in chosen
    ]
    left_out = len(history) - len(chosen)
    if left_out:
        rows.append({"iteration": "…", "fate": "pruned", "why": f"{left_out} older ones not shown"})
    return rows


def pruning_page(
    run: str,
    history: Sequence[CheckpointHistory],
    *,
    store_url: str,
) -> str:
    """The page as markdown: strip, score curves with the best marked, disk use, and what to type.

    Args:
        history: every checkpoint of the run, kept or gone.
    """
    best = {name: each.iteration for each in history for name in each.best_for}
    counts = {fate: sum(each.fate == fate for each in history) for fate in ("kept", "marked")}
    pruned = [each for each in history if each.fate == "pruned"]
    parts = [
        f"# Checkpoints of {run}",
        f"**{counts['kept']} kept** ({readable_bytes(total_bytes(history, 'kept'))}), "
        f"{counts['marked']} marked ({readable_bytes(total_bytes(history, 'marked'))}, can be "
        f"restored), {len(pruned)} pruned ({readable_bytes(total_bytes(history, 'pruned'))} "
        f"freed). Store: `{store_url}`",
        markdown_picture("kept and pruned checkpoints", fate_strip(history)),
        "## Best",
        _best_table(best, history),
        "## Scores",
        score_charts(score_curves(history), best),
        "## Disk use",
        markdown_picture("bytes on disk over time", disk_use_chart(disk_use(history))),
        "## Kept",
        _fate_table([each for each in history if each.fate == "kept"]),
        "## Marked and pruned",
        _fate_table([each for each in history if each.fate != "kept"], pruned=True),
        "## Can I have one back?",
        "A *marked* checkpoint is still whole: "
        f"`dacapo-store restore {run} ITERATION --store {store_url}`. "
        "A *pruned* one is gone; its row above says when, why and by which flow run, and what it "
        "scored. "
        f"To keep one for good: `dacapo-store pin {run} ITERATION --store {store_url}`.",
    ]
    return "\n\n".join(parts)


def _best_table(best: Mapping[str, int], history: Sequence[CheckpointHistory]) -> str:
    if not best:
        return "Nothing has been scored yet."
    by_iteration = {each.iteration: each for each in history}
    return markdown_table(
        ["dataset / criterion", "iteration", "score"],
        [
            (name, iteration, readable_score(by_iteration[iteration].scores.get(name)))
            for name, iteration in sorted(best.items())
        ],
    )


def _fate_table(history: Sequence[CheckpointHistory], *, pruned: bool = False) -> str:
    if not history:
        return "None."
    newest = sorted(history, key=lambda each: -each.iteration)
    rows = [
        (
            each.iteration,
            *([each.fate, _when(each.pruned), each.pruned_by or "–"] if pruned else []),
            "; ".join(gathered_reasons(each.reasons)),
            readable_bytes(each.size),
        )
        for each in newest[:MOST_ROWS]
    ]
    header = ["iteration", *(["fate", "when", "by"] if pruned else []), "why", "size"]
    more = len(newest) - MOST_ROWS
    return markdown_table(header, rows) + (f"\n\n… and {more} older ones." if more > 0 else "")


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"

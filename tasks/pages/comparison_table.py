"""Several runs side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dacapo_core.store.records.score_names import criterion_in_words, score_name
from tasks.pages.formatting import markdown_link, markdown_table, readable_score


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    ``values`` is what distinguishes it; ``best`` is ``<dataset>/<criterion>`` → (iteration,
    score); ``higher_is_better`` says so for each of these names; ``report`` and ``flow_run`` are
    paths of its pages.
    """

    run: str
    values: Mapping[str, Any]
    state: str
    best: Mapping[str, tuple[int, float | None]]
    higher_is_better: Mapping[str, bool]
    report: str
    flow_run: str


def comparison_page(sweep: str, results: Sequence[RunResult], store: str) -> str:
    """The runs as markdown: each name a link to its report, each state to its flow run."""
    rows = comparison_table(results)
    cells = [
        [
            markdown_link(result.run, result.report),
            *(cell for name, cell in row.items() if name not in ("run", "state")),
            markdown_link(result.state, result.flow_run),
        ]
        for result, row in zip(results, rows, strict=True)
    ]
    header = [_in_words(name, results) for name in (rows[0] if rows else ()) if name != "state"]
    return "\n\n".join(
        [
            f"# Sweep {sweep}",
            f"{len(results)} runs; ★ at the best of each dataset and criterion. A run's name leads "
            f"to its report, its state to its flow run. Store: `{store}`",
            markdown_table([*header, "state"], cells),
        ]
    )


def _in_words(name: str, results: Sequence[RunResult]) -> str:
    """The head of a column: what was judged, or the field as it is."""
    if not any(name in result.best for result in results):
        return name
    what = score_name(name)
    return f"{criterion_in_words(what.criterion)} on {what.dataset_in_words}"


def comparison_table(results: Sequence[RunResult]) -> list[dict[str, str]]:
    """One row a run; ★ at the best of each dataset and criterion over all runs."""
    names = sorted({name for result in results for name in result.best if "__" not in name})
    winners = {name: _winner(name, results) for name in names}
    return [
        {
            "run": result.run,
            **{field: str(value) for field, value in result.values.items()},
            "state": result.state,
            **{name: _cell(result, name, winners[name]) for name in names},
        }
        for result in results
    ]


def _cell(result: RunResult, name: str, winner: float | None) -> str:
    if name not in result.best:
        return "–"
    iteration, score = result.best[name]
    star = " ★" if score is not None and score == winner else ""
    return f"{readable_score(score)} at {iteration}{star}"


def _winner(name: str, results: Sequence[RunResult]) -> float | None:
    scores = [
        (score, result.higher_is_better.get(name, True))
        for result in results
        for _, score in [result.best.get(name, (0, None))]
        if score is not None and not math.isnan(score)
    ]
    if not scores:
        return None
    return (max if scores[0][1] else min)(score for score, _ in scores)

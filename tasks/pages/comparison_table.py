"""Several runs side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.pages.wording import readable_score


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    ``values`` is what distinguishes it; ``best`` is ``<dataset>/<criterion>`` → (iteration,
    score); ``higher_is_better`` says so for each of these names.
    """

    run: str
    values: Mapping[str, Any]
    state: str
    best: Mapping[str, tuple[int, float | None]]
    higher_is_better: Mapping[str, bool]


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

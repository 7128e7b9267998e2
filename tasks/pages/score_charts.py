"""Score curves, one chart a criterion: criteria have scales of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.pages.drawing import line_chart, markdown_picture


def score_charts(
    curves: Mapping[str, Sequence[tuple[float, float]]], best: Mapping[str, int]
) -> str:
    """Charts as markdown, of the curves that have a best; a star marks it.

    Args:
        curves: ``<dataset>/<criterion>`` → (iteration, score), in order.
        best: ``<dataset>/<criterion>`` → iteration.
    """
    criteria: dict[str, dict[str, Sequence[tuple[float, float]]]] = {}
    for name in sorted(best):
        if name in curves:
            criterion = name.rpartition("/")[2].rpartition("__")[2]
            criteria.setdefault(criterion, {})[name] = curves[name]
    marks = {name: float(iteration) for name, iteration in best.items()}
    charts = [
        f"### {criterion}\n\n"
        + markdown_picture(f"{criterion} by iteration", line_chart(lines, "iteration", marks))
        for criterion, lines in criteria.items()
    ]
    return "\n\n".join(charts) or "Nothing has been scored yet."

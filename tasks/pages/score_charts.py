"""Score curves, one chart a criterion: criteria have scales of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.pages.drawing import MOST_POINTS, in_groups, line_chart, markdown_picture


def score_charts(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    best: Mapping[str, int],
    extended: Sequence[int] = (),
) -> str:
    """Charts as markdown, of the curves that have a best; a star marks it.

    Of many checkpoints a curve has some: the latest, the best, and every few in between.

    Args:
        curves: ``<dataset>/<criterion>`` → (iteration, score), in order.
        best: ``<dataset>/<criterion>`` → iteration.
        extended: iterations at which the run was given more of them.
    """
    criteria: dict[str, dict[str, Sequence[tuple[float, float]]]] = {}
    for name in sorted(best):
        if name in curves:
            criterion = name.rpartition("/")[2].rpartition("__")[2]
            criteria.setdefault(criterion, {})[name] = _some(curves[name], best[name])
    marks = {name: float(iteration) for name, iteration in best.items()}
    charts = [
        f"### {criterion}\n\n"
        + markdown_picture(
            f"{criterion} by iteration", line_chart(lines, "iteration", marks, extended)
        )
        for criterion, lines in criteria.items()
    ]
    return "\n\n".join(charts) or "Nothing has been scored yet."


def _some(points: Sequence[tuple[float, float]], best: int) -> list[tuple[float, float]]:
    groups = in_groups(points, MOST_POINTS)
    return [each for group in groups for each in group if each[0] == best or each is group[-1]]

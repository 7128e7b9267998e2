"""Loss and scores by iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dacapo_core.store.records.score_names import in_words
from dacapo_core.validation.pictures.figure import new_figure, png

Points = Sequence[tuple[int, float]]
"""(iteration, value) in order."""

SMOOTHED_OVER = 0.05


def curves_picture(
    losses: Points,
    scores: Mapping[str, Points],
    best: Mapping[str, int] | None = None,
) -> bytes:
    """Loss, and beside it the score curves with the best of each marked by a star.

    Args:
        losses: of training.
        scores: ``<dataset>/<criterion>`` → its points; values that are not finite leave a gap.
        best: name → the best iteration.

    Returns:
        a PNG.
    """
    figure = new_figure(9, 3.2)
    left, right = figure.subplots(1, 2)
    if losses:
        iterations, values = np.array(losses, float).T
        left.plot(iterations, values, color="0.75", linewidth=0.8)
        left.plot(iterations, smoothed(values), color="C0", linewidth=1.6)
        if np.nanmin(values, initial=np.inf) > 0:
            left.set_yscale("log")
    left.set_title("training loss", fontsize=10)
    for number, (name, points) in enumerate(scores.items()):
        if not points:
            continue
        iterations, values = np.array(points, float).T
        colour = f"C{number % 10}"
        right.plot(
            iterations,
            values,
            "o-",
            color=colour,
            markersize=3,
            linewidth=1.4,
            label=in_words([name]),
        )
        at = (best or {}).get(name)
        if at in iterations:
            value = values[iterations.tolist().index(at)]
            right.plot([at], [value], "*", color=colour, markersize=13, markeredgecolor="black")
    if scores:
        right.legend(fontsize=7, frameon=False)
    right.set_title("held-out scores, ★ the best", fontsize=10)
    for axes in (left, right):
        axes.set_xlabel("iteration", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean of each value and its neighbours, leaving out those that are not finite."""
    width = max(1, int(len(values) * SMOOTHED_OVER))
    kernel = np.ones(2 * width + 1)
    finite = np.isfinite(values)
    total = np.convolve(np.pad(np.where(finite, values, 0.0), width), kernel, "valid")
    count = np.convolve(np.pad(finite.astype(float), width), kernel, "valid")
    return np.asarray(total / np.maximum(count, 1))

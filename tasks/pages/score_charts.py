"""Score curves, one chart a criterion: criteria have scales of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

from dacapo_core.store.records.score_names import ScoreName, score_name
from tasks.pages.drawing import (
    INK,
    LINE_COLOURS,
    MOST_POINTS,
    Line,
    in_groups,
    line_chart,
    markdown_picture,
)
from tasks.pages.formatting import markdown_table, readable_score

NOTHING_SCORED = "Nothing has been scored yet."
DASHES = ("", "6 3", "2 3", "10 3 2 3")


def score_charts(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    best: Mapping[str, int],
    extended: Sequence[int] = (),
) -> str:
    """Charts as markdown, of the curves that have a best; a star marks it.

    A channel has one colour in all of them, and a dataset one kind of line. Of many checkpoints a
    curve has some: the latest, the best, and every few in between.

    Args:
        curves: ``<dataset>/<criterion>`` → (iteration, score), in order.
        best: ``<dataset>/<criterion>`` → iteration.
        extended: iterations at which the run was given more of them.
    """
    shown = {key: score_name(key) for key in sorted(best) if key in curves}
    colours = channel_colours(each.channel for each in shown.values() if each.channel)
    datasets = sorted({each.dataset for each in shown.values()})
    criteria: dict[str, list[Line]] = {}
    titles: dict[str, str] = {}
    for key, of in shown.items():
        titles[of.criterion] = _title(of, datasets)
        line = Line(
            _label(of, datasets),
            _some(curves[key], best[key]),
            colours[of.channel] if of.channel else INK,
            best[key],
            DASHES[datasets.index(of.dataset) % len(DASHES)],
        )
        criteria.setdefault(of.criterion, []).append(line)
    charts = [
        f"### {titles[criterion]}\n\n"
        + markdown_picture(
            f"{titles[criterion]} by iteration", line_chart(lines, "iteration", extended)
        )
        for criterion, lines in criteria.items()
    ]
    return "\n\n".join(charts) or NOTHING_SCORED


def best_table(best: Mapping[str, tuple[int, float | None]]) -> str:
    """Where each dataset, channel and criterion is best, as markdown; over all channels first.

    Args:
        best: ``<dataset>/<criterion>`` → (iteration, score).
    """
    if not best:
        return NOTHING_SCORED
    rows = []
    for key in sorted(best, key=lambda key: ("__" in key.rpartition("/")[2], key)):
        of, (iteration, score) = score_name(key), best[key]
        rows.append(
            (
                of.dataset_in_words,
                of.channel_in_words,
                of.criterion_in_words,
                iteration,
                readable_score(score),
            )
        )
    return markdown_table(["dataset", "channel", "criterion", "iteration", "score"], rows)


def channel_colours(channels: Iterable[str]) -> dict[str, str]:
    """A colour for each channel, which depends on its name: the same in all runs that have it.

    Of two that would share one, the later in the alphabet takes the next that is free.
    """
    found: dict[str, str] = {}
    for channel in sorted(set(channels)):
        first = crc32(channel.encode()) % len(LINE_COLOURS)
        wanted = [*LINE_COLOURS[first:], *LINE_COLOURS[:first]]
        free = [colour for colour in wanted if colour not in found.values()]
        found[channel] = (free or wanted)[0]
    return found


def _title(of: ScoreName, datasets: Sequence[str]) -> str:
    title = of.criterion_in_words[0].upper() + of.criterion_in_words[1:]
    return f"{title} on {of.dataset_in_words}" if len(datasets) == 1 else title


def _label(of: ScoreName, datasets: Sequence[str]) -> str:
    if len(datasets) == 1:
        return of.channel_in_words
    return f"{of.channel_in_words}, {of.dataset_in_words}"


def _some(points: Sequence[tuple[float, float]], best: int) -> list[tuple[float, float]]:
    groups = in_groups(points, MOST_POINTS)
    return [each for group in groups for each in group if each[0] == best or each is group[-1]]

"""The report of a run in progress or done: one page, updated at each validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tasks.pages.drawing import (
    LINE_COLOURS,
    MOST_POINTS,
    Line,
    in_groups,
    line_chart,
    markdown_picture,
)
from tasks.pages.formatting import readable_bytes, readable_seconds
from tasks.pages.score_charts import best_table, score_charts


@dataclass(frozen=True)
class RunReport:
    """What the page shows.

    ``extended`` says where it was given more iterations: how many were done → how many it was to
    have before. ``waiting_share`` is 0 to 1; ``seconds_left`` are those from ``as_of``; ``ended``
    says how it ended before it was complete; ``peak_memory`` is in bytes; ``restarts`` are those of
    the processes that train it; ``losses`` are (iteration, loss); ``scores`` and ``best`` are
    (iteration, score) by ``<dataset>/<criterion>``; ``pictures`` are PNG by title.
    """

    run: str
    store_url: str
    iteration: int
    num_iterations: int
    extended: Mapping[int, int] = field(default_factory=dict)
    samples_per_second: float = 0.0
    waiting_share: float = 0.0
    seconds_left: float | None = None
    as_of: datetime | None = None
    ended: str | None = None
    peak_memory: int | None = None
    processes: int = 1
    restarts: int = 0
    most_restarts: int = 0
    losses: Sequence[tuple[int, float]] = ()
    scores: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    best: Mapping[str, tuple[int, float | None]] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


def report_page(report: RunReport) -> str:
    """The page as markdown with its pictures inside."""
    done = report.iteration >= report.num_iterations
    state = "complete" if done else f"{report.iteration / report.num_iterations:.0%} done"
    facts = [f"**iteration {report.iteration} of {report.num_iterations}** ({state})"]
    if report.samples_per_second:
        facts.append(f"{report.samples_per_second:.2f} samples/s")
        facts.append(f"{report.waiting_share:.0%} of the time waiting for data")
    if report.peak_memory:
        facts.append(f"{readable_bytes(report.peak_memory)} of memory")
    if report.ended:
        facts.append(f"**{report.ended}**")
    elif report.seconds_left and not done:
        facts.append(_time_left(report.seconds_left, report.as_of))
    if report.processes > 1:
        facts.append(f"{report.processes} processes")
    if report.restarts:
        facts.append(
            f"started again {report.restarts} of at most {report.most_restarts} times after the "
            "death of a process"
        )
    facts += [
        f"extended at iteration {at}, once planned to {planned}"
        for at, planned in report.extended.items()
    ]
    parts = [
        f"# {report.run}",
        " · ".join(facts),
        f"Store: `{report.store_url}`",
        "## Best",
        best_table(report.best),
        "## Scores on held-out data",
        score_charts(
            report.scores,
            {name: iteration for name, (iteration, _) in report.best.items()},
            list(report.extended),
        ),
        "## Loss",
        markdown_picture(
            "loss by iteration",
            line_chart(
                [Line("loss", thinned(report.losses), LINE_COLOURS[0])],
                "iteration",
                report.extended,
            ),
        ),
    ]
    for title, picture in report.pictures.items():
        parts += [f"## {title}", markdown_picture(title, picture, "png")]
    if report.links:
        parts += ["## More", "\n".join(f"- [{text}]({url})" for text, url in report.links.items())]
    return "\n\n".join(parts)


def _time_left(seconds: float, as_of: datetime | None) -> str:
    left = f"about {readable_seconds(seconds)} left"
    if as_of is None:
        return left
    return f"{left}, to end at about {as_of + timedelta(seconds=seconds):%Y-%m-%d %H:%M} UTC"


def thinned(
    points: Sequence[tuple[int, float]], most: int = MOST_POINTS
) -> list[tuple[float, float]]:
    """At most ``most`` points, each the mean of its neighbours: a page stays small."""
    return [
        (group[-1][0], sum(value for _, value in group) / len(group))
        for group in in_groups(points, most)
    ]

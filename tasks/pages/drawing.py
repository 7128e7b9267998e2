"""Small pictures as SVG, and pictures inside markdown."""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape
from typing import TypeVar

from dacapo_core.store.records.history import CheckpointHistory
from tasks.pages.formatting import readable_bytes, readable_seconds

T = TypeVar("T")

WIDTH, MARGIN, HEADROOM = 760, 54, 22
MOST_DOTS, MOST_BOXES, MOST_POINTS = 60, 370, 400
LABEL_HEIGHT, LETTER_WIDTH, MOST_LABEL_WIDTH = 14, 7.0, 220
FATE_COLOURS = {"kept": "#2563eb", "marked": "#d97706", "pruned": "#cbd5e1"}
LINE_COLOURS = (
    *("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#dc2626"),
    *("#4f46e5", "#b45309", "#0d9488", "#c026d3", "#854d0e", "#0369a1", "#be123c", "#15803d"),
)
INK, PALE, PRUNED = "#1e293b", "#e2e8f0", "#64748b"


def markdown_picture(title: str, picture: bytes, kind: str = "svg+xml") -> str:
    """A picture inside markdown, as a ``data:`` URL; ``kind`` is ``svg+xml`` or ``png``."""
    return f"![{title}](data:image/{kind};base64,{base64.b64encode(picture).decode()})"


def in_groups(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Neighbours together, in at most ``most`` groups."""
    size = max(1, -(-len(items) // most))
    return [items[first : first + size] for first in range(0, len(items), size)]


def fate_strip(history: Sequence[CheckpointHistory]) -> bytes:
    """One box a checkpoint, in order of iteration, coloured by its fate; a star on each best.

    Of more than ``MOST_BOXES``, neighbours share a box: kept if any of them is.
    """
    ordered = sorted(history, key=lambda checkpoint: checkpoint.iteration)
    boxes = in_groups(ordered, MOST_BOXES)
    count = max(1, len(boxes))
    step = (WIDTH - 20) / count
    box = max(1.0, min(step * 0.85, 34.0))
    label_every = max(1, round(count * 44 / (WIDTH - 20)))
    shapes: list[str] = []
    for index, together in enumerate(boxes):
        left = 10 + index * step
        middle = left + box / 2
        fates = {checkpoint.fate for checkpoint in together}
        colour = next(colour for fate, colour in FATE_COLOURS.items() if fate in fates)
        shapes.append(
            f'<rect x="{left:.1f}" y="26" width="{box:.1f}" height="34" '
            f'rx="{min(3, box / 4):.2g}" fill="{colour}"/>'
        )
        if any(checkpoint.best_for for checkpoint in together):
            shapes.append(_text(middle, 20, "★", "middle", size=16))
        if index % label_every == 0:
            shapes.append(_text(middle, 76, str(together[0].iteration), "middle", size=11))
    for index, (fate, colour) in enumerate(FATE_COLOURS.items()):
        left = 10 + index * 90
        shapes.append(f'<rect x="{left}" y="88" width="12" height="12" rx="2" fill="{colour}"/>')
        shapes.append(_text(left + 18, 98, fate))
    shapes.append(_text(10 + len(FATE_COLOURS) * 90, 98, "★ best"))
    return _svg(108, shapes)


@dataclass(frozen=True)
class Line:
    """A line of a chart: (x, y) in order of x, labelled at its end.

    ``star`` is the x of the point to mark; ``dashes`` is SVG's pattern.
    """

    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    star: float | None = None
    dashes: str = ""


def line_chart(lines: Sequence[Line], x_title: str, extended: Collection[float] = ()) -> bytes:
    """Lines over a common, whole-numbered x, each with its label at its end.

    A dashed line stands at each x where the run was ``extended``, if curves go on beyond it.
    Values that are not finite are left out.
    """
    lines = [
        replace(line, points=[each for each in line.points if math.isfinite(each[1])])
        for line in lines
    ]
    lines = [line for line in lines if line.points]
    if not lines:
        return _svg(30, [_text(10, 20, "nothing to draw yet")])
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    y_ticks = _round_numbers(min(ys), max(ys))
    frame = _Frame((min(xs), max(xs)), (y_ticks[0], y_ticks[-1]), [line.label for line in lines])
    shapes = frame.axes(
        [(x, f"{x:.0f}") for x in _round_numbers(min(xs), max(xs), 8, integer=True)],
        [(y, f"{y:g}") for y in y_ticks],
    )
    for x in (x for x in extended if min(xs) <= x < max(xs)):
        left, top = frame.place(x, y_ticks[-1])
        shapes.append(
            f'<line x1="{left}" y1="{top}" x2="{left}" y2="{frame.height}" stroke="{INK}" '
            'stroke-dasharray="4 4"/>'
        )
        shapes.append(_text(left + 4, top + 10, "extended", size=11))
    for line in lines:
        placed = [frame.place(x, y) for x, y in line.points]
        shapes.append(_polyline(placed, line.colour, line.dashes))
        if len(placed) <= MOST_DOTS:
            shapes += [_dot(*spot, line.colour) for spot in placed]
        for x, y in line.points:
            if x == line.star:
                left, top = frame.place(x, y)
                shapes.append(_text(left, top - 6, "★", "middle", size=16, colour=line.colour))
    shapes += frame.labels([(line.label, line.points[-1], line.colour) for line in lines])
    shapes.append(_text(frame.right, frame.height + 30, x_title, "end"))
    return _svg(frame.height + 40, shapes)


def disk_use_chart(
    levels: Sequence[tuple[datetime, int]],
    without_pruning: Sequence[tuple[datetime, int]] = (),
) -> bytes:
    """Bytes on disk as steps over the time since the first checkpoint; of many, the highest.

    Args:
        without_pruning: what they would be had nothing been pruned, as a second line.
    """
    if not levels:
        return _svg(30, [_text(10, 20, "sizes are not on record")])
    lines = [("on disk", levels, LINE_COLOURS[0], "")]
    if without_pruning:
        lines.append(("without pruning", without_pruning, PRUNED, "5 4"))
    start = min(line[0][0] for _, line, _, _ in lines)
    seconds = max((line[-1][0] - start).total_seconds() for _, line, _, _ in lines)
    highest = max(size for _, line, _, _ in lines for _, size in line)
    unit = next((unit for unit in (86_400, 3600, 60) if seconds >= 2 * unit), 1)
    y_ticks = _round_numbers(0.0, float(highest), integer=True)
    labels = [label for label, _, _, _ in lines] if without_pruning else []
    frame = _Frame((0.0, seconds), (0.0, y_ticks[-1]), labels)
    shapes = frame.axes(
        [
            (x * unit, readable_seconds(x * unit))
            for x in _round_numbers(0.0, seconds / unit, 5, integer=True)
        ],
        [(y, readable_bytes(round(y))) for y in y_ticks],
    )
    ends = []
    for label, line, colour, dashes in lines:
        steps: list[tuple[float, float]] = []
        before = 0
        for moment, size in _peaks(line):
            second = (moment - start).total_seconds()
            steps += [frame.place(second, before), frame.place(second, size)]
            before = size
        shapes.append(_polyline(steps, colour, dashes))
        ends.append((label, ((line[-1][0] - start).total_seconds(), float(before)), colour))
    if labels:
        shapes += frame.labels(ends)
    return _svg(frame.height + 40, shapes)


def _peaks(levels: Sequence[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    """Of many, the highest of each few, and the last."""
    *before_now, now = levels
    groups = in_groups(before_now, MOST_POINTS)
    return [*(max(group, key=lambda level: level[1]) for group in groups), now]


class _Frame:
    """Where values are placed inside a chart, with room for labels at the ends of its lines."""

    def __init__(
        self, xs: tuple[float, float], ys: tuple[float, float], labels: Sequence[str]
    ) -> None:
        self.x_low, self.x_span = xs[0], (xs[1] - xs[0]) or 1.0
        self.y_low, self.y_span = ys[0], (ys[1] - ys[0]) or 1.0
        self.height = max(200, HEADROOM + LABEL_HEIGHT * len(labels))
        widest = max((len(label) for label in labels), default=0)
        self.right = WIDTH - 20 - min(MOST_LABEL_WIDTH, round(LETTER_WIDTH * widest))

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = MARGIN + (x - self.x_low) / self.x_span * (self.right - MARGIN)
        down = HEADROOM + (1 - (y - self.y_low) / self.y_span) * (self.height - HEADROOM)
        return round(across, 1), round(down, 1)

    def axes(
        self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]]
    ) -> list[str]:
        """Lines and labels of (value, label); those outside the frame are left out."""
        shapes = []
        for y, label in y_ticks:
            top = self.place(self.x_low, y)[1]
            shapes.append(
                f'<line x1="{MARGIN}" x2="{self.right}" y1="{top}" y2="{top}" stroke="{PALE}"/>'
            )
            shapes.append(_text(MARGIN - 6, top + 4, label, "end", size=11))
        for x, label in x_ticks:
            if self.x_low <= x <= self.x_low + self.x_span:
                left = self.place(x, self.y_low)[0]
                shapes.append(_text(left, self.height + 16, label, "middle", size=11))
        return shapes

    def labels(self, ends: Sequence[tuple[str, tuple[float, float], str]]) -> list[str]:
        """Each label beside the end of its line, moved up or down where two would meet."""
        placed = sorted((self.place(*end)[1], label, colour) for label, end, colour in ends)
        tops = spread([top for top, _, _ in placed], LABEL_HEIGHT, self.height)
        return [
            _text(self.right + 8, top + 4, _shortened(label), colour=colour)
            for top, (_, label, colour) in zip(tops, placed, strict=True)
        ]


def spread(places: Sequence[float], apart: float, most: float) -> list[float]:
    """Places in order, moved so that neighbours are that far apart and none is beyond ``most``."""
    moved: list[float] = []
    for place in places:
        moved.append(place if not moved else max(place, moved[-1] + apart))
    limit = most
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - apart
    return moved


def _shortened(label: str) -> str:
    most = int(MOST_LABEL_WIDTH / LETTER_WIDTH)
    return label if len(label) <= most else label[: most - 1] + "…"


def _round_numbers(low: float, high: float, most: int = 5, *, integer: bool = False) -> list[float]:
    """Round numbers from at or below ``low`` to at or above ``high``, about ``most`` steps apart.

    Not matplotlib's: pages are made in a thread, beside one that may be importing it.
    """
    high = high if high > low else low + 1
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= least * (1 - 1e-9))
    if integer:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _svg(height: float, shapes: Sequence[str]) -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(shapes)}</svg>'
    ).encode()


def _text(
    left: float,
    top: float,
    text: str,
    anchor: str = "start",
    size: int = 12,
    colour: str = "",
) -> str:
    return (
        f'<text x="{left:.1f}" y="{top:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{colour or INK}">{escape(text)}</text>'
    )


def _polyline(points: Sequence[tuple[float, float]], colour: str, dashes: str = "") -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>'


def _dot(left: float, top: float, colour: str) -> str:
    return f'<circle cx="{left}" cy="{top}" r="3" fill="{colour}"/>'

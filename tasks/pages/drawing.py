"""Small pictures as SVG, and pictures inside markdown."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from html import escape
from math import isfinite
from typing import TypeVar

from dacapo_core.store.records.history import CheckpointHistory
from tasks.pages.wording import readable_bytes, readable_seconds

T = TypeVar("T")

WIDTH, MARGIN, HEADROOM = 760, 54, 22
MOST_DOTS, MOST_BOXES, MOST_POINTS = 60, 370, 400
FATE_COLOURS = {"kept": "#2563eb", "marked": "#d97706", "pruned": "#cbd5e1"}
LINE_COLOURS = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2")
INK, PALE = "#1e293b", "#e2e8f0"


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


def line_chart(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    x_title: str,
    marks: Mapping[str, float] | None = None,
    extended: Collection[float] = (),
) -> bytes:
    """One line a name over a common, whole-numbered x; ``marks`` names the x of a line's star.

    A dashed line stands at each x where the run was ``extended``, if curves go on beyond it.
    Values that are not finite are left out.
    """
    curves = {name: [each for each in curve if isfinite(each[1])] for name, curve in curves.items()}
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return _svg(30, [_text(10, 20, "nothing to draw yet")])
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_ticks = _round_numbers(min(y for _, y in points), max(y for _, y in points))
    frame = _Frame(x_low, x_high, y_ticks[0], y_ticks[-1])
    shapes = frame.axes(
        [(x, f"{x:.0f}") for x in _round_numbers(x_low, x_high, 8, integer=True)],
        [(y, f"{y:g}") for y in y_ticks],
    )
    for x in (x for x in extended if x_low <= x < x_high):
        left, top = frame.place(x, y_ticks[-1])
        shapes.append(
            f'<line x1="{left}" y1="{top}" x2="{left}" y2="{frame.height}" stroke="{INK}" '
            'stroke-dasharray="4 4"/>'
        )
        shapes.append(_text(left + 4, top + 10, "extended", size=11))
    for index, (name, curve) in enumerate(curves.items()):
        colour = LINE_COLOURS[index % len(LINE_COLOURS)]
        shapes.append(_polyline([frame.place(x, y) for x, y in curve], colour))
        if len(curve) <= MOST_DOTS:
            shapes += [_dot(*frame.place(x, y), colour) for x, y in curve]
        mark = (marks or {}).get(name)
        for x, y in curve:
            if x == mark:
                left, top = frame.place(x, y)
                shapes.append(_text(left, top - 6, "★", "middle", size=16))
        shapes.append(_dot(MARGIN + 6, frame.height + 38 + 16 * index, colour))
        shapes.append(_text(MARGIN + 16, frame.height + 42 + 16 * index, name))
    shapes.append(_text(WIDTH - 10, frame.height + 30, x_title, "end"))
    return _svg(frame.height + 46 + 16 * len(curves), shapes)


def disk_use_chart(levels: Sequence[tuple[datetime, int]]) -> bytes:
    """Bytes on disk as steps over the time since the first checkpoint; of many, the highest."""
    if not levels:
        return _svg(30, [_text(10, 20, "sizes are not on record")])
    start = levels[0][0]
    *before_now, now = levels
    peaks = in_groups(before_now, MOST_POINTS)
    levels = [*(max(group, key=lambda level: level[1]) for group in peaks), now]
    seconds = [(moment - start).total_seconds() for moment, _ in levels]
    unit = next((unit for unit in (86_400, 3600, 60) if seconds[-1] >= 2 * unit), 1)
    y_ticks = _round_numbers(0.0, float(max(size for _, size in levels)), integer=True)
    frame = _Frame(0.0, seconds[-1], 0.0, y_ticks[-1])
    steps: list[tuple[float, float]] = []
    before = 0
    for second, (_, size) in zip(seconds, levels, strict=True):
        steps += [frame.place(second, before), frame.place(second, size)]
        before = size
    shapes = frame.axes(
        [
            (x * unit, readable_seconds(x * unit))
            for x in _round_numbers(0.0, seconds[-1] / unit, 5, integer=True)
        ],
        [(y, readable_bytes(round(y))) for y in y_ticks],
    )
    shapes.append(_polyline(steps, LINE_COLOURS[0]))
    return _svg(frame.height + 40, shapes)


class _Frame:
    """Where values are placed inside a chart."""

    def __init__(self, x_low: float, x_high: float, y_low: float, y_high: float) -> None:
        self.x_low, self.x_span = x_low, (x_high - x_low) or 1.0
        self.y_low, self.y_span = y_low, (y_high - y_low) or 1.0
        self.height = 200

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = MARGIN + (x - self.x_low) / self.x_span * (WIDTH - MARGIN - 20)
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
                f'<line x1="{MARGIN}" x2="{WIDTH - 20}" y1="{top}" y2="{top}" stroke="{PALE}"/>'
            )
            shapes.append(_text(MARGIN - 6, top + 4, label, "end", size=11))
        for x, label in x_ticks:
            if self.x_low <= x <= self.x_low + self.x_span:
                left = self.place(x, self.y_low)[0]
                shapes.append(_text(left, self.height + 16, label, "middle", size=11))
        return shapes


def _round_numbers(low: float, high: float, most: int = 5, *, integer: bool = False) -> list[float]:
    """Round numbers from at or below ``low`` to at or above ``high``."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(most, steps=[1, 2, 5, 10], integer=integer)
    return [float(tick) for tick in locator.tick_values(low, high if high > low else low + 1)]


def _svg(height: float, shapes: Sequence[str]) -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(shapes)}</svg>'
    ).encode()


def _text(left: float, top: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{left:.1f}" y="{top:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{INK}">{escape(text)}</text>'
    )


def _polyline(points: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _dot(left: float, top: float, colour: str) -> str:
    return f'<circle cx="{left}" cy="{top}" r="3" fill="{colour}"/>'

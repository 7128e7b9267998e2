"""Numbers, sizes, ages and cells as a person reads them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime


def readable_bytes(size: int | None) -> str:
    """``1234567`` as ``1.2 MB``; unknown as ``–``."""
    if size is None:
        return "–"
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def readable_seconds(seconds: float) -> str:
    """``93`` as ``1 min 33 s``, ``7260`` as ``2 h 1 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days"


def readable_moment(moment: datetime) -> str:
    """``2026-12-05 09:30 UTC``."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def readable_age(moment: datetime | None, now: datetime) -> str:
    """The time from ``moment`` to ``now``; unknown as ``–``."""
    return "–" if moment is None else readable_seconds(max(0.0, (now - moment).total_seconds()))


def readable_score(score: float | None) -> str:
    """Three decimals; what is no number is said to be none."""
    return "–" if score is None or math.isnan(score) else f"{score:.3f}"


def first_few(reasons: Mapping[int, str], most: int = 3) -> str:
    """``10: why; 20: why; and 7 more``, by iteration: one line, however many there are."""
    said = [f"{iteration}: {why}" for iteration, why in sorted(reasons.items())[:most]]
    more = len(reasons) - most
    return "; ".join([*said, f"and {more} more"] if more > 0 else said)


def command_on(command: str, run: str, store: str) -> str:
    """What to type at a terminal about a checkpoint of a run; ITERATION is to be filled in."""
    of_run = shlex.join(["dacapo-store", command, run])
    return f"{of_run} ITERATION {shlex.join(['--store', store])}"


def markdown_link(text: str, path: str) -> str:
    """A link; brackets in its text are made harmless."""
    return f"[{text.replace('[', chr(92) + '[').replace(']', chr(92) + ']')}]({path})"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table; pipes and line ends in cells are made harmless."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")

"""What the event feed shows of a checkpoint event: one line, which stands as its resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from dacapo_core.store.records.score_names import overall, short_why, shown_scores
from tasks.pages.formatting import readable_bytes, readable_moment
from tasks.pages.iterations import shown_iterations
from tasks.pages.run_pruning import UNTOUCHED, shown_reasons

LONGEST = 300
_PRUNED = {
    "prune": "pruned, {size} freed",
    "mark": "marked, {size}",
    "reclaim": "reclaimed past their grace period, {size} freed",
    "remove": "removed by hand, {size} freed",
}


def event_line(kind: str, run: str, payload: Mapping[str, Any]) -> str:
    """``mito: iteration 8 stored, 4.0 MB``; ``mito: 8, 16 marked, 8.1 MB, …: not among the last``.

    Args:
        kind: stored, best, pruned, restored or rehearsed.
        payload: of the event.
    """
    line = f"{run}: {_SAID[kind](payload)}"
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _stored(payload: Mapping[str, Any]) -> str:
    return f"iteration {payload['iteration']} stored, {readable_bytes(payload.get('bytes'))}"


def _best(payload: Mapping[str, Any]) -> str:
    scores: Mapping[str, float | None] = payload["best_for"]
    shown = overall(scores) or scores
    said = f"iteration {payload['iteration']} is the best: {shown_scores(shown)}"
    of_channels = len(scores) - len(shown)
    return f"{said}, and {of_channels} of single channels" if of_channels else said


def _pruned(payload: Mapping[str, Any]) -> str:
    size = readable_bytes(payload.get("bytes"))
    said = f"{shown_iterations(payload['iterations'])} {_PRUNED[payload['kind']].format(size=size)}"
    if until := payload.get("restorable_until"):
        moment = datetime.fromisoformat(until)
        said += f", can be restored until {readable_moment(moment)}"
    return _with_reasons(said, payload)


def _restored(payload: Mapping[str, Any]) -> str:
    said = f"iteration {payload['iteration']} restored, {readable_bytes(payload.get('bytes'))}"
    marked = short_why(payload.get("marked_for") or [])
    return f"{said}; it had been marked: {marked}" if marked else said


def _rehearsed(payload: Mapping[str, Any]) -> str:
    would = "marked" if payload["kind"] == "mark" else "pruned"
    if not payload["iterations"]:
        return f"rehearsal, {UNTOUCHED}: nothing would be {would}"
    return _with_reasons(
        f"rehearsal, {UNTOUCHED}: {shown_iterations(payload['iterations'])} would be {would}, "
        f"{readable_bytes(payload.get('bytes'))}",
        payload,
    )


def _with_reasons(said: str, payload: Mapping[str, Any]) -> str:
    """The reasons alone where all have the same, as they mostly do."""
    reasons = {int(iteration): why for iteration, why in payload["reasons"].items()}
    shown = shown_reasons(reasons)
    named = f"{shown_iterations(sorted(reasons))}: "
    return f"{said}: {shown.removeprefix(named)}" if shown.startswith(named) else f"{said}. {shown}"


_SAID: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "stored": _stored,
    "best": _best,
    "pruned": _pruned,
    "restored": _restored,
    "rehearsed": _rehearsed,
}

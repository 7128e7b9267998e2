"""Events of many validation intervals in one task run, sent as one of a kind every half hour."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

EVERY_SECONDS = 1800.0

Payload = dict[str, Any]

event_batch: ContextVar[EventBatch | None] = ContextVar("event_batch", default=None)
"""Set inside a task run of many validation intervals, where tasks are plain functions."""


class EventBatch:
    """Collects events of a run, and sends those of a kind as one.

    Args:
        send: takes kind, run and payload.
    """

    def __init__(self, send: Callable[[str, str, Payload], None]) -> None:
        self._send = send
        self._unsent: dict[tuple[str, str, object], Payload] = {}
        self._sent = time.monotonic()

    def add(self, kind: str, run: str, payload: Payload) -> None:
        """Add an event; send all, if nothing was sent for half an hour."""
        if kind == "best":
            self._supersede(run, payload)
        what = payload.get("iteration") if kind in ("best", "restored") else payload.get("kind")
        key = (kind, run, what)
        before = self._unsent.pop(key, None)
        self._unsent[key] = payload if before is None else merged(kind, before, payload)
        if time.monotonic() - self._sent >= EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send all that were added since the last time."""
        unsent, self._unsent = self._unsent, {}
        self._sent = time.monotonic()
        for (kind, run, _), payload in unsent.items():
            self._send(kind, run, payload)

    def _supersede(self, run: str, payload: Mapping[str, Any]) -> None:
        """Take from earlier iterations what this one is now the best of."""
        for key, earlier in list(self._unsent.items()):
            if key[:2] != ("best", run) or earlier["iteration"] == payload["iteration"]:
                continue
            left = {
                name: score
                for name, score in earlier["best_for"].items()
                if name not in payload["best_for"]
            }
            if left:
                self._unsent[key] = {**earlier, "best_for": left}
            else:
                del self._unsent[key]


def merged(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Payload:
    """One payload that says what two of a kind do, in their order."""
    if kind == "best":
        return {**after, "best_for": {**before["best_for"], **after["best_for"]}}
    if kind == "stored":
        earlier = before.get("iterations") or [before["iteration"]]
        return {**after, "iterations": [*earlier, after["iteration"]]}
    if kind != "pruned":
        return dict(after)
    until = [each["restorable_until"] for each in (before, after) if each.get("restorable_until")]
    return {
        **after,
        "iterations": sorted({*before["iterations"], *after["iterations"]}),
        "reasons": {**before["reasons"], **after["reasons"]},
        "bytes": (before.get("bytes") or 0) + (after.get("bytes") or 0),
        "restorable_until": min(until, default=None),
    }

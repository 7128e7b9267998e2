"""Events that are sent together: of many validations, one of a kind every half hour."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

EVERY_SECONDS = 1800.0

Payload = dict[str, Any]

event_batch: ContextVar[EventBatch | None] = ContextVar("event_batch", default=None)
"""Set where many validations are one task run: there steps are plain functions."""


class EventBatch:
    """Holds events of a run, and sends those of a kind as one.

    Args:
        send: takes kind, run and payload.
    """

    def __init__(self, send: Callable[[str, str, Payload], None]) -> None:
        self._send = send
        self._held: dict[tuple[str, str, object], Payload] = {}
        self._sent = time.monotonic()

    def add(self, kind: str, run: str, payload: Payload) -> None:
        """Hold an event; send all that are held if the last were sent long enough ago."""
        if kind == "best":
            self._supersede(run, payload)
        what = payload.get("iteration") if kind in ("best", "restored") else payload.get("kind")
        key = (kind, run, what)
        before = self._held.pop(key, None)
        self._held[key] = payload if before is None else merged(kind, before, payload)
        if time.monotonic() - self._sent >= EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, {}
        self._sent = time.monotonic()
        for (kind, run, _), payload in held.items():
            self._send(kind, run, payload)

    def _supersede(self, run: str, payload: Mapping[str, Any]) -> None:
        """What an earlier iteration is no longer the best of is not said of it."""
        for key, earlier in list(self._held.items()):
            if key[:2] != ("best", run) or earlier["iteration"] == payload["iteration"]:
                continue
            left = {
                name: score
                for name, score in earlier["best_for"].items()
                if name not in payload["best_for"]
            }
            if left:
                self._held[key] = {**earlier, "best_for": left}
            else:
                del self._held[key]


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

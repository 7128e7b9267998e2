"""Reclaim what is past its grace period and what dead writers left behind."""

from __future__ import annotations

from tasks.step import step
from tasks.stores import open_store


@step("sweep")
def sweep(store: str | None = None) -> None:
    """Sweep a whole store; safe beside running trainers."""
    open_store(store).sweep()

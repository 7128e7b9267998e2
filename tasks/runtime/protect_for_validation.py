"""Protect checkpoints from pruning until they are validated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from tasks.runtime.open_stores import open_store
from tasks.runtime.provenance import who

PENDING_FOR = timedelta(days=1)


@contextmanager
def protected_for_validation(
    run: str, store: str | None, iterations: Sequence[int]
) -> Iterator[None]:
    """Protect stored checkpoints until each is validated, or the block fails; for a day at most.

    ``store_best`` ends the protection of the one that was validated. When the block fails, those
    that another process had protected before stay so.

    Raises:
        FileNotFoundError: there is no such checkpoint; nothing has been validated.
    """
    opened = open_store(store)
    asked_before = opened.pending(run)
    try:
        for iteration in iterations:
            opened.request_validation(run, iteration, within=PENDING_FOR, by=who())
        yield
    except BaseException:
        for iteration in set(iterations).difference(asked_before):
            opened.end_validation(run, iteration)
        raise

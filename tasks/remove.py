"""Remove one checkpoint."""

from __future__ import annotations

from tasks.step import step
from tasks.stores import open_store


@step("remove {run} {iteration}")
def remove(run: str, iteration: int, store: str | None = None, force: bool = False) -> None:
    """Remove a checkpoint for good; a best one only with ``force``, its record with it.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        StoreError: it is the best by some criterion, pinned or in use, and ``force`` is False.
    """
    open_store(store).remove(run, iteration, force=force)

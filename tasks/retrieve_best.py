"""Which checkpoint of a run is best."""

from __future__ import annotations

from tasks.runtime.open_stores import open_store
from tasks.runtime.task_decorator import task


@task("best of {run} on {dataset} by {criterion}")
def retrieve_best(run: str, dataset: str, criterion: str, store: str | None = None) -> int:
    """The best iteration of ``run`` on ``dataset`` by ``criterion``.

    Raises:
        FileNotFoundError: none was stored.
    """
    return open_store(store).retrieve_best(run, dataset, criterion)

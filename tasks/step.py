"""How every task of ours is declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

P = ParamSpec("P")
R = TypeVar("R")


def step(run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Declare a task; ``run_name`` is a template over its arguments.

    No hashing of arguments and no pickled results: arguments are names, numbers and URLs, and
    what is large is in the store already.
    """
    return task(task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)

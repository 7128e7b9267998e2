"""How every task of ours is declared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from tasks.library_log import enter_task
from tasks.live_runs import live_run

P = ParamSpec("P")
R = TypeVar("R")


def step(run_name: str, *, at_iteration: bool = False) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Declare a task; ``run_name`` is a template over its arguments.

    No hashing of arguments and no pickled results: arguments are names, numbers and URLs, and
    what is large is in the store already.

    Args:
        at_iteration: the name also says where ``run`` is, if this process has it in memory.
    """

    def with_iteration(parameters: dict[str, Any]) -> str:
        return run_name.format(**parameters) + _where(parameters["run"])

    declared = task(
        # Prefect finds by its argument's name what to call it with; its type asks for more
        task_run_name=with_iteration if at_iteration else run_name,  # type: ignore[arg-type]
        cache_policy=NO_CACHE,
        persist_result=False,
    )

    def declare(function: Callable[P, R]) -> Task[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            enter_task()
            return function(*args, **kwargs)

        return declared(run)

    return declare


def _where(run: str) -> str:
    try:
        return f" at {live_run(run).run.iteration}"
    except (KeyError, RuntimeError):
        # nothing to do with training: it is pruned, say, by a flow of its own
        return ""

"""How every task of ours is declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import CancelledRun, TerminationSignal
from prefect.states import Cancelled

from tasks.runtime.batched_events import event_batch
from tasks.runtime.flow_run_log import enter_task
from tasks.runtime.runs_in_training import live_run
from tasks.runtime.stop_signals import stop_signals

P = ParamSpec("P")
R = TypeVar("R")


class CancellableTask(Task[P, R]):
    """A task that ends as Cancelled when its process is asked to stop; Prefect says Crashed.

    Inside a task run of many validation intervals it is called as a plain function.
    """

    stopped: BaseException | None = None

    # without the arguments of Prefect's own that no flow here uses
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        """Run the task, unless the process was asked to stop.

        Raises:
            TerminationSignal: it was, before or meanwhile.
            KeyboardInterrupt: by Ctrl-C.
        """
        if event_batch.get() is not None:
            plain: Callable[P, R] = inspect.unwrap(self.fn)
            return plain(*args, **kwargs)
        stop_signals.end_if_asked()
        try:
            result = super().__call__(*args, **kwargs)
        except CancelledRun:
            if self.stopped is None:
                raise
            stopped, self.stopped = self.stopped, None
            raise stopped from None
        stop_signals.end_if_asked()
        return result


def task(
    run_name: str, *, at_iteration: bool = False
) -> Callable[[Callable[P, R]], CancellableTask[P, R]]:
    """Declare a task; ``run_name`` is a template over its arguments.

    No hashing of arguments and no pickled results: arguments are names, numbers and URLs, and
    what is large is in the store already.

    Args:
        at_iteration: the name also says where ``run`` is, if this process has it in memory.
    """

    def with_iteration(parameters: dict[str, Any]) -> str:
        return run_name.format(**parameters) + _where(parameters["run"])

    def declare(function: Callable[P, R]) -> CancellableTask[P, R]:
        @wraps(function)
        def body(*args: P.args, **kwargs: P.kwargs) -> Any:
            enter_task()
            try:
                with stop_signals.in_task():
                    return function(*args, **kwargs)
            except (TerminationSignal, KeyboardInterrupt) as asked:
                declared.stopped = asked
                return Cancelled(message="Its process was asked to stop.")

        declared: CancellableTask[P, R] = CancellableTask(
            body,
            # Prefect passes the parameters by this argument's name; its type does not say so
            task_run_name=with_iteration if at_iteration else run_name,  # type: ignore[arg-type]
            cache_policy=NO_CACHE,
            persist_result=False,
        )
        return declared

    return declare


def _where(run: str) -> str:
    try:
        return f" at {live_run(run).run.iteration}"
    except (KeyError, RuntimeError):
        # the run is not trained here: it is pruned, say, by a flow of its own
        return ""

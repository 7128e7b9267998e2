"""How every flow is declared; its final state says in one line how it went."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.flow_run_names import name_what_failed

P = ParamSpec("P")
R = TypeVar("R")


class _FlowWithMessage(Flow[P, R]):
    """A flow that returns a state with a message; its caller gets the value, as of any flow."""

    # its two signatures are Prefect's: with return_state the state, else the value
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        ended = super().__call__(*args, **kwargs)
        if kwargs.get("return_state") or not isinstance(ended, State):
            return ended
        return ended.result()


def flow(
    name: str, flow_run_name: Callable[[], str] | str
) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Declare a flow that returns `completed`; results are not kept as pickles.

    A flow run that fails before Prefect has named it is named all the same.

    Args:
        flow_run_name: a name, or what makes one from the flow run's parameters.
    """

    def declare(function: Callable[P, R]) -> Flow[P, R]:
        return _FlowWithMessage(
            function,
            name=name,
            flow_run_name=flow_run_name,
            on_failure=[name_what_failed],
            persist_result=False,
        )

    return declare


def completed(message: str, value: R) -> R:
    """What such a flow returns: its value, in a state with a message of one line."""
    return cast("R", Completed(message=message, data=value))

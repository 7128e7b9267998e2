"""The name of a flow run: its flow and the runs that it is about."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.runtime import flow_run

from dacapo_core.experiments.run_config import RunConfig


def flow_run_name(flow: str, as_trained: Callable[[RunConfig], RunConfig]) -> Callable[[], str]:
    """Have Prefect name flow runs by their flow and the name that the run has in the store.

    Args:
        as_trained: what the flow makes of the run that it is given.
    """

    def name() -> str:
        given = RunConfig.model_validate(flow_run.parameters.get("run", {}))
        return f"{flow} {as_trained(given).name}"

    return name


def name_what_failed(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Name a flow run that failed before Prefect named it: its parameters were refused, say.

    To be called by Prefect on failure.
    """
    if flow_run.name.startswith(f"{flow.name} "):
        return
    with get_client(sync_client=True) as client:
        client.set_flow_run_name(flow_run.id, f"{flow.name} {_about(flow, flow_run.parameters)}")


def _about(flow: Flow[..., Any], given: Mapping[str, Any]) -> str:
    """The runs that it was about, whatever else is wrong with the parameters."""
    about = next(iter(inspect.signature(flow.fn).parameters.values()))
    runs = given.get(about.name, about.default)
    if isinstance(runs, Mapping):
        runs = runs.get("name", getattr(about.default, "name", None))
    runs = getattr(runs, "name", runs)
    if isinstance(runs, list):
        runs = ", ".join(map(str, runs))
    return str(runs or "nothing")

"""A name for a flow run that failed before it got one: its parameters were refused, say."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State


def name_what_failed(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Name it as Prefect would have a moment later; to be called by Prefect on failure."""
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

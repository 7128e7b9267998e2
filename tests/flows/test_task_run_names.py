"""Each step of an interval is named by run and iteration, as a person sees it in the UI."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.states import State

from dacapo_core.experiments.run_config import RunConfig
from flows.embedded_prefect import send_what_is_queued
from flows.prune import prune
from flows.train import train
from flows.validate import validate
from tests.deployments.site import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.prefect]


def recorded(state: State[object], last: str) -> set[str]:
    """The names of the task runs of a flow run, once the server has recorded the last of them."""
    assert state.is_completed()
    assert state.state_details.flow_run_id is not None
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    send_what_is_queued()
    with get_client(sync_client=True) as client:

        def found() -> set[str]:
            names = {each.name for each in client.read_task_runs(flow_run_filter=wanted)}
            return names if last in names else set()

        return set(wait_for(f"task run {last!r}", 120, found))


def test_each_step_of_an_interval_says_run_and_iteration(
    prefect_server: str, tmp_path: Path, tiny: RunConfig
) -> None:
    store = str(tmp_path)
    trained = train(tiny, store, return_state=True)
    names = "train tiny until {}", "store tiny {}", "validate tiny {}", "settle tiny {}"
    named_by_where_it_is = "best of tiny at {}", "prune tiny at {}", "report of tiny at {}"
    each_interval = (*names, *named_by_where_it_is)
    expected = {name.format(iteration) for name in each_interval for iteration in (2, 4, 6)}
    assert recorded(trained, "report of tiny at 6") == {"begin tiny"} | expected

    judged = validate("tiny", [4], store, return_state=True)
    assert recorded(judged, "best of tiny at 4") == {
        "load tiny 4",
        "validate tiny 4",
        "best of tiny at 4",
    }
    # no iteration of a run that nobody trains here
    assert recorded(prune("tiny", store=store, return_state=True), "prune tiny") == {
        "sweep tiny",
        "prune tiny",
    }

"""A schedule begins a new run each time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.states import State

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from flows.finetune import finetune
from flows.scheduled_names import scheduled_name, with_scheduled_name
from flows.train import train
from tests.small_run import small_run

START = {"type": "run", "run": "any", "criterion": "latest"}


def test_each_scheduled_time_names_another_run() -> None:
    template = RunConfig(name="weekly-{scheduled}").name
    first = scheduled_name(template, datetime(2026, 3, 1, 3, tzinfo=UTC))
    later = scheduled_name(template, datetime(2026, 3, 8, 3, tzinfo=UTC))
    assert first == "weekly-2026-03-01T0300"
    assert later == "weekly-2026-03-08T0300"
    assert RunConfig(name=first).name == first


def test_a_plain_name_stays() -> None:
    run = RunConfig(name="plain")
    assert with_scheduled_name(run) is run


@pytest.mark.slow
@pytest.mark.prefect
def test_a_flow_run_shows_the_name_under_which_its_run_trains(
    prefect_server: str, tmp_path: Path
) -> None:
    state = train(small_run("weekly-{scheduled}", 1, 1), str(tmp_path), return_state=True)
    (trained,) = LocalWeightsStore(tmp_path).runs()
    assert trained.startswith("weekly-2")
    assert flow_run_named(state) == f"train {trained}"


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.parametrize(
    ("flow", "given", "name"),
    [
        (train, {"seed": 1}, "train demo"),
        (finetune, {"seed": 1}, "finetune finetuned"),
        (finetune, {"start_config": START}, "finetune demo"),
    ],
)
def test_a_run_that_is_given_no_name_is_shown_by_its_default(
    prefect_server: str,
    tmp_path: Path,
    flow: Flow[..., object],
    given: dict[str, Any],
    name: str,
) -> None:
    (tmp_path / "file").write_text("no store can be here")
    state = flow(given, store=str(tmp_path / "file"), return_state=True)
    assert state.is_failed()
    assert flow_run_named(state) == name


def flow_run_named(state: State[object]) -> str:
    """The name that the server has of the flow run in that state."""
    assert state.state_details.flow_run_id is not None
    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id).name

"""A run with many validations makes few task runs and events, and is stored as any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from flows.embedded_prefect import send_what_is_queued
from flows.train import train
from tasks import train_intervals
from tests.deployments.site import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.prefect]


def test_many_validations_are_few_task_runs_and_events(
    prefect_server: str, tmp_path: Path, tiny: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_intervals, "ALONE", 1)
    monkeypatch.setattr(train_intervals, "TOGETHER", 1)
    config = tiny.model_copy(update={"name": "many", "validation_interval": 1})
    state = train(config, str(tmp_path), RetentionPolicy(keep_last=1), return_state=True)
    assert state.is_completed(), state.message
    flow_run = state.state_details.flow_run_id
    assert flow_run is not None
    send_what_is_queued()

    store = LocalWeightsStore(tmp_path)
    assert {record.iteration for record in store.scores("many")} == {1, 2, 3, 4, 5, 6}
    best = {record.iteration for record in store.best_records("many").values()}
    assert set(store.iterations("many")) == {6} | best
    overview = store.overviews()["many"]
    assert overview is not None
    assert overview.training is not None
    assert overview.training.state == "complete"

    with get_client(sync_client=True) as client:

        def names() -> list[str]:
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
            return [each.name for each in client.read_task_runs(flow_run_filter=wanted)]

        last = "train many until 6, with 5 validations"
        wait_for("the task runs", 30, lambda: last in names())
        assert sum(name.startswith("train many") for name in names()) == 2
        assert "validate many 1" in names()
        assert "validate many 2" not in names()
        logged = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run])))
        said = "\n".join(each.message for each in logged)
        assert all(f"many: iteration {iteration}: " in said for iteration in range(1, 7))

        def events(kind: str) -> list[dict[str, object]]:
            filter = {
                "event": {"name": [f"dacapo.checkpoint.{kind}"]},
                "resource": {"id": ["dacapo.run.many"]},
            }
            answer = client.request("POST", "/events/filter", json={"filter": filter})
            return [each["payload"] for each in answer.json()["events"]]

        wait_for("the events", 30, lambda: len(events("stored")) == 2)
        assert [payload.get("iterations") for payload in events("stored")] == [
            [2, 3, 4, 5, 6],
            None,
        ]
        (pruned,) = events("pruned")
        assert set(pruned["iterations"]) == {1, 2, 3, 4, 5, 6} - set(store.iterations("many"))  # type: ignore[call-overload]

"""Checkpoints handed to a deployment, judged late, in any order, by another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from flows.train import train
from flows.validate import validate
from tasks import hand_over
from tasks.hand_over import ValidationDeploymentError, worth_waiting

LAST_ONE = RetentionPolicy(keep_last=1)


def states(*types: StateType) -> list[State]:
    return [State(type=each, timestamp=datetime.now(UTC)) for each in types]


def test_an_idle_process_waits_for_validators_at_work_and_not_for_those_in_a_queue() -> None:
    running, queued, done = StateType.RUNNING, StateType.SCHEDULED, StateType.COMPLETED
    assert worth_waiting(states(running, queued), asking=False, waited=300, idle=0)
    assert not worth_waiting(states(running), asking=False, waited=601, idle=0)
    assert worth_waiting(states(queued, done), asking=False, waited=10, idle=10)
    assert not worth_waiting(states(queued, done), asking=False, waited=61, idle=61)
    assert not worth_waiting(states(done, StateType.CRASHED), asking=False, waited=1, idle=1)
    assert worth_waiting(states(done), asking=True, waited=1, idle=1)
    assert worth_waiting([], asking=True, waited=10, idle=10), "the server may be busy"


@pytest.fixture
def one_thread() -> None:
    """Scores are compared bit for bit."""
    torch.set_num_threads(1)


def scores(store: LocalWeightsStore) -> dict[tuple[int, str], object]:
    return {(each.iteration, each.dataset): each.entries for each in store.scores("tiny")}


def asked_for(store: LocalWeightsStore) -> list[int]:
    """Iterations of the store that flow runs wait to judge, once the server has taken them."""
    # SQLite makes the server refuse for a minute, at worst
    deadline = time.monotonic() + 100
    found: list[int] = []
    while len(found) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
        with get_client(sync_client=True) as client:
            asked = [each.parameters for each in client.read_flow_runs() if each.deployment_id]
        assert {each["run"] for each in asked} <= {"tiny"}
        found = [i for each in asked if each["store"] == store.basedir for i in each["iterations"]]
    return sorted(found)


def deployed(name: str) -> str:
    """A deployment of validate that nobody serves."""
    validate.to_deployment(name).apply()  # type: ignore[union-attr]
    return f"validate/{name}"


# SQLite refuses the hand-over for minutes at times when nobody serves the deployment; until that is
# understood this is no test for every run
@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.prefect
def test_scores_that_come_late_and_out_of_order_make_the_same_best(
    prefect_server: str,
    tmp_path: Path,
    tiny: RunConfig,
    one_thread: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_place, beside = LocalWeightsStore(tmp_path / "a"), LocalWeightsStore(tmp_path / "b")
    everything = RetentionPolicy(keep_every=1)
    train(tiny, in_place.basedir, everything)

    monkeypatch.setattr(hand_over, "START_WITHIN_SECONDS", 0.5)
    nobody = deployed("nobody")
    began = time.monotonic()
    summary = train(tiny, beside.basedir, LAST_ONE, nobody)
    assert time.monotonic() - began < 30
    assert beside.scores("tiny") == []
    assert beside.best_records("tiny") == {}
    assert beside.pending("tiny") == [2, 4, 6] == beside.iterations("tiny")
    assert beside.prune("tiny", LAST_ONE).pruned == {}, "what waits for its scores stays"
    assert "Waiting for their validation: 2, 4, 6" in str(summary)
    assert asked_for(beside) == [2, 4, 6]

    for iteration in (6, 2, 4):
        validate("tiny", [iteration], beside.basedir)
    assert scores(beside) == scores(in_place)
    assert beside.best_records("tiny") == in_place.best_records("tiny")
    assert beside.pending("tiny") == []
    assert {i for i, _ in beside.pictures("tiny")} == {2, 4, 6}

    again = train(tiny, beside.basedir, LAST_ONE, nobody)
    assert again.was_complete
    assert again.waiting == []
    best = {record.iteration for record in in_place.best_records("tiny").values()}
    assert set(again.kept) == best | {6}


@pytest.fixture
def validator(prefect_server: str, tmp_path: Path) -> Iterator[str]:
    """Another process that serves a deployment of validate; its name."""
    name = "elsewhere"
    from prefect.settings import PREFECT_HOME

    with (tmp_path / "validator.log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"from flows.validate import validate; validate.serve(name={name!r})",
            ],
            env=os.environ
            | {
                "OMP_NUM_THREADS": "1",
                "PREFECT_API_URL": prefect_server,
                "PREFECT_HOME": str(PREFECT_HOME.value()),
                "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            try:
                client.read_deployment_by_name(f"validate/{name}")
                break
            except Exception:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise TimeoutError((tmp_path / "validator.log").read_text()) from None
                time.sleep(0.2)
    yield f"validate/{name}"
    process.terminate()
    process.wait(30)


# as above
@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.prefect
def test_another_process_judges_while_training_goes_on(
    tmp_path: Path, tiny: RunConfig, validator: str
) -> None:
    two = tiny.model_copy(update={"num_iterations": 4})
    summary = train(two, str(tmp_path / "runs"), LAST_ONE, validator)
    store = LocalWeightsStore(tmp_path / "runs")
    assert summary.waiting == []
    assert {each.iteration for each in store.scores("tiny")} == {2, 4}
    best = {record.iteration for record in store.best_records("tiny").values()}
    assert best
    assert set(store.iterations("tiny")) == {4} | best == set(summary.kept)
    lease = json.loads(max((tmp_path / "runs/tiny/records/lease").iterdir()).read_text())
    assert lease["process"]["pid"] == os.getpid(), "the validator never took the lease"


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.parametrize(
    ("deployment", "said"),
    [
        ("validate/nowhere", "deployments deploy"),
        ("train/default", "not of the flow validate"),
        ("checkpoint", "such as validate/checkpoint"),
    ],
)
def test_a_deployment_that_cannot_judge_is_refused_before_training(
    prefect_server: str, tmp_path: Path, tiny: RunConfig, deployment: str, said: str
) -> None:
    with pytest.raises(ValidationDeploymentError, match=said):
        train(tiny, str(tmp_path / "runs"), LAST_ONE, deployment)
    assert not (tmp_path / "runs").exists()

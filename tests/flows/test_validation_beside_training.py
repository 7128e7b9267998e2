"""Checkpoints handed to a deployment, judged late, in any order, by another process."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from flows import training_loop
from flows.train import train
from flows.validate import validate
from tasks import request_validation
from tasks.request_validation import ValidationDeploymentError, worth_waiting
from tasks.runtime import validation_request_sender
from tasks.runtime.runs_in_training import run_in_training
from tasks.runtime.validation_request_sender import ValidationRequestSender

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
    assert not worth_waiting([], asking=True, waited=91, idle=91), "or away"
    assert worth_waiting(states(running), asking=True, waited=300, idle=0)


@pytest.fixture
def one_thread() -> None:
    """Scores are compared bit for bit."""
    torch.set_num_threads(1)


def scores(store: LocalWeightsStore) -> dict[tuple[int, str], object]:
    return {(each.iteration, each.dataset): each.entries for each in store.scores("tiny")}


def asked_for(store: LocalWeightsStore) -> list[int]:
    """Iterations of the store that flow runs were asked to judge, each as often as it was."""
    with get_client(sync_client=True) as client:
        asked = [each.parameters for each in client.read_flow_runs() if each.deployment_id]
    assert {each["run"] for each in asked} <= {"tiny"}
    return sorted(i for each in asked if each["store"] == store.basedir for i in each["iterations"])


def deployed(name: str) -> str:
    """A deployment of validate that nobody serves."""
    validate.to_deployment(name).apply()  # type: ignore[union-attr]
    return f"validate/{name}"


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

    monkeypatch.setattr(request_validation, "START_WITHIN_SECONDS", 0.5)
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


@contextmanager
def busy_in_front_of(server: str) -> Iterator[tuple[str, list[str]]]:
    """Relays to the server as one with a busy database answers; yields its URL and what it did.

    The first request for a flow run is refused, the second is carried out when nobody waits for the
    answer any more.
    """
    done: list[str] = []

    class Relay(BaseHTTPRequestHandler):
        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            creates = self.path.endswith("/create_flow_run")
            if creates:
                done.append(("refused", "late", "answered")[min(len(done), 2)])
                if done[-1] == "refused":
                    self.send_error(503)
                    return
            root = server.removesuffix("/api")
            answer = httpx.request(
                self.command,
                root + self.path,
                content=body,
                headers={"Content-Type": "application/json"},
            )
            if creates and done[-1] == "late":
                time.sleep(2 * SHORT)
            with suppress(BrokenPipeError):
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

        do_GET = do_POST = relay

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as relay:
        thread = threading.Thread(target=relay.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{relay.server_port}/api", done
        relay.shutdown()
        thread.join()


SHORT = 1.0


@pytest.mark.slow
@pytest.mark.prefect
def test_a_busy_server_is_asked_until_it_answers_and_makes_one_flow_run_of_each_request(
    prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation_request_sender, "ATTEMPT_SECONDS", SHORT)
    store = LocalWeightsStore(tmp_path)
    nobody = deployed("nobody")
    with (
        busy_in_front_of(prefect_server) as (url, done),
        temporary_settings({PREFECT_API_URL: url}),
    ):
        requests = ValidationRequestSender(nobody)
        began = time.monotonic()
        for iteration in (2, 4):
            parameters = {"run": "tiny", "iterations": [iteration], "store": store.basedir}
            requests.ask([iteration], parameters)
        assert time.monotonic() - began < 0.2, "training goes on at once"
        assert requests.waiting == [2, 4]
        while requests.waiting and time.monotonic() - began < 60:
            time.sleep(0.1)
        requests.close()
    assert done == ["refused", "late", "answered", "answered"]
    assert sorted(requests.taken.values()) == [[2], [4]]
    assert requests.refusal is None
    assert asked_for(store) == [2, 4]


@pytest.mark.slow
@pytest.mark.prefect
def test_what_was_never_taken_is_asked_for_when_the_run_is_started_again(
    prefect_server: str,
    tmp_path: Path,
    tiny: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = LocalWeightsStore(tmp_path)
    monkeypatch.setattr(request_validation, "START_WITHIN_SECONDS", 0.5)
    # a busy server may answer one attempt too late
    monkeypatch.setattr(request_validation, "ASK_WITHIN_SECONDS", 20.0)
    nobody = deployed("gone")
    monkeypatch.setattr(training_loop, "find_deployment", without(nobody))
    summary = train(tiny, str(tmp_path), LAST_ONE, nobody)
    assert summary.waiting == store.pending("tiny") == store.iterations("tiny") == [2, 4, 6]
    assert asked_for(store) == []
    assert "[2, 4, 6] not handed over yet (there is no deployment 'validate/gone'" in caplog.text

    monkeypatch.undo()
    monkeypatch.setattr(request_validation, "START_WITHIN_SECONDS", 0.5)
    train(tiny, str(tmp_path), LAST_ONE, deployed("gone"))
    assert asked_for(store) == [2, 4, 6]
    assert validate("tiny", None, store.basedir).keys() == {2, 4, 6}


def without(deployment: str) -> Callable[[str], None]:
    """Finds the deployment as the flow does, and then it is deleted."""

    def find_and_delete(name: str) -> None:
        request_validation.find_deployment(name)
        with get_client(sync_client=True) as client:
            client.delete_deployment(client.read_deployment_by_name(deployment).id)

    return find_and_delete


@pytest.fixture
def validator(prefect_server: str, tmp_path: Path) -> Iterator[str]:
    """Another process that serves a deployment of validate; its name."""
    name = "elsewhere"
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


def test_a_checkpoint_that_was_pruned_before_it_was_asked_for_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_in_training("small", 2, str(tmp_path), owner="test") as current:
        current.built = SmallRun()  # type: ignore[assignment]
        for iteration in (1, 2):
            current.store.store_weights(SmallRun(), iteration)
        request, asked = current.store.request_validation, list[list[int]]()

        def late(run: str, iteration: int, **options: Any) -> None:
            if iteration == 1:
                current.store.remove(run, iteration)
            request(run, iteration, **options)

        monkeypatch.setattr(current.store, "request_validation", late)
        current.requests = ValidationRequestSender("validate/checkpoint")
        monkeypatch.setattr(current.requests, "ask", lambda these, _: asked.append(these))
        notes: list[str] = []
        monkeypatch.setattr(current.progress, "note", notes.append)
        ask = inspect.unwrap(request_validation.request_validations.fn)
        assert ask("small", "validate/checkpoint") == [2]
    assert asked == [[2]]
    assert notes == ["small: checkpoint 1 was pruned before it was judged"]


class SmallRun:
    """What a store and the handing over take as a run."""

    def __init__(self) -> None:
        self.name = "small"
        self.model = torch.nn.Linear(2, 2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.validation_datasets = [SimpleNamespace(name="val")]

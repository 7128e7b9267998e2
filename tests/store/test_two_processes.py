"""Two trainers are told apart; two pruners and a trainer get along. Real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dacapo_core.store import layout
from dacapo_core.store.errors import LeaseHeldError, LeaseLostError
from dacapo_core.store.local_weights_store import LocalWeightsStore

SCRIPTS = Path(__file__).parent / "processes"
BACKENDS = [
    "local",
    pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.slow]),
]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """A store that several processes can open."""
    if request.param == "s3":
        server = request.getfixturevalue("s3_server")
        return f"{server.new_folder()}/store", server.storage_options
    return str(tmp_path / "store"), {}


@pytest.fixture
def start(place: tuple[str, dict[str, Any]]) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def popen(script: str, **arguments: Any) -> subprocess.Popen[str]:
        said = {"url": place[0], "options": place[1], **arguments}
        process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / script), json.dumps(said)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield popen
    for process in started:
        process.kill()
        process.wait()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def store(place: tuple[str, dict[str, Any]]) -> LocalWeightsStore:
    return LocalWeightsStore(*place)


def hold(start: Start, owner: str, seconds_to_live: float = 60) -> subprocess.Popen[str]:
    return start("hold_lease.py", owner=owner, seconds_to_live=seconds_to_live)


def test_the_second_trainer_is_refused_and_told_who_holds_it(
    store: LocalWeightsStore, start: Start
) -> None:
    first = hold(start, "flow run brave-bee")
    assert line(first) == "held"
    second = hold(start, "flow run late-owl")
    said = line(second)
    assert said.startswith("refused: run 'run' is being trained by flow run brave-bee")
    with pytest.raises(LeaseHeldError, match="brave-bee"), store.lease("run"):
        pass
    assert first.stdin is not None
    first.stdin.close()
    first.wait()
    with store.lease("run") as lease:
        lease.check()


def test_a_killed_holder_is_taken_over_at_once(store: LocalWeightsStore, start: Start) -> None:
    first = hold(start, "flow run brave-bee", seconds_to_live=3600)
    assert line(first) == "held"
    first.kill()
    first.wait()
    before = time.monotonic()
    with store.lease("run") as lease:
        assert lease.epoch == 1
    assert time.monotonic() - before < 10


@pytest.mark.slow
def test_a_holder_elsewhere_is_taken_over_after_its_time_to_live(
    store: LocalWeightsStore, start: Start
) -> None:
    """A stopped process stands for one on another machine: it lives, and does not renew."""
    first = hold(start, "a node that hangs", seconds_to_live=2)
    assert line(first) == "held"
    first.send_signal(signal.SIGSTOP)
    with pytest.raises(LeaseHeldError):
        store.lease("run", patience=timedelta(seconds=0.5)).acquire()
    with store.lease("run", patience=timedelta(seconds=10)):
        first.send_signal(signal.SIGCONT)
        time.sleep(1)
        with pytest.raises(LeaseHeldError):
            store.lease("run").acquire()


@pytest.mark.slow
def test_a_holder_whose_clock_is_an_hour_behind_is_not_taken_over(
    store: LocalWeightsStore, start: Start
) -> None:
    first = hold(start, "a node with another clock", seconds_to_live=2)
    assert line(first) == "held"
    path = "run/records/lease/0.json"
    record = json.loads(store.filesystem.read_bytes(path))
    record["process"] = {"host": "far", "pid": 7, "boot": "another"}
    there = threading.Event()

    def renew() -> None:
        while not there.wait(0.5):
            record["renewed"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
            store.filesystem.write_bytes(path, json.dumps(record).encode())

    holder = threading.Thread(target=renew)
    first.send_signal(signal.SIGSTOP)
    holder.start()
    try:
        time.sleep(1)
        with pytest.raises(LeaseHeldError, match="a node with another clock"):
            store.lease("run").acquire()
    finally:
        there.set()
        holder.join()
    with store.lease("run"):
        pass


@pytest.mark.slow
def test_a_lease_is_renewed_while_it_is_held(store: LocalWeightsStore, start: Start) -> None:
    first = hold(start, "busy", seconds_to_live=1.5)
    assert line(first) == "held"
    time.sleep(3)
    with pytest.raises(LeaseHeldError, match="busy"):
        store.lease("run").acquire()


def test_one_who_lost_the_lease_stores_nothing_more(
    store: LocalWeightsStore, run: Any, place: tuple[str, dict[str, Any]]
) -> None:
    with store.lease("run", "slow", time_to_live=timedelta(seconds=1000)) as lease:
        store.store_weights(run, 1)
        path = f"run/records/lease/{lease.epoch}.json"
        old = json.loads(store.filesystem.read_bytes(path))
        old["released"] = True
        store.filesystem.write_bytes(path, json.dumps(old).encode())
        other = LocalWeightsStore(*place)
        with other.lease("run", "fast"):
            with pytest.raises(LeaseLostError, match="was lost to process"):
                store.store_weights(run, 2)
            with pytest.raises(LeaseLostError):
                store.store_weights(run, 2, wait=False)
            other.store_weights(run, 3)
    assert store.iterations("run") == [1, 3]


@pytest.mark.parametrize("wait", [True, False])
def test_one_without_a_lease_stores_nothing_into_a_run_that_another_trains(
    store: LocalWeightsStore, run: Any, start: Start, wait: bool
) -> None:
    other = hold(start, "flow run brave-bee", seconds_to_live=3600)
    assert line(other) == "held"
    with pytest.raises(LeaseHeldError, match="brave-bee"):
        store.store_weights(run, 1, wait=wait)
    assert store.iterations("run") == []
    other.kill()
    other.wait()
    store.store_weights(run, 2, wait=wait)
    assert store.iterations("run") == [2]


def test_of_many_that_race_for_a_lease_one_wins(store: LocalWeightsStore, start: Start) -> None:
    racers = [hold(start, f"racer {number}") for number in range(4)]
    said = [line(racer) for racer in racers]
    assert sum(word == "held" for word in said) == 1
    assert sum(word.startswith("refused") for word in said) == 3


@pytest.mark.slow
def test_two_pruners_and_a_trainer(store: LocalWeightsStore, run: Any, start: Start) -> None:
    for iteration in range(60):
        store.store_weights(run, iteration)
    store.store_best("run", 7, "val", "dice")
    pruners = [start("prune_once.py", by=f"pruner {number}") for number in range(2)]
    for pruner in pruners:
        assert line(pruner) == "ready"
    for pruner in pruners:
        assert pruner.stdin is not None
        pruner.stdin.write("go\n")
        pruner.stdin.flush()
    for iteration in range(60, 70):
        store.store_weights(run, iteration)
        store.store_best("run", iteration, "val", "voi")
    said = [json.loads(line(pruner)) for pruner in pruners]
    assert not any(outcome["failed"] for outcome in said)

    there = store.iterations("run")
    assert {7, 69} <= set(there)
    assert store.retrieve_best("run", "val", "dice") == 7
    assert store.retrieve_best("run", "val", "voi") == 69
    for iteration in there:
        store.verify("run", iteration)
    history = store.history("run")
    gone = {i for i, checkpoint in history.checkpoints.items() if checkpoint.fate == "pruned"}
    assert gone == set(range(70)) - set(there)
    for operation in history.operations:
        assert not operation.iterations.keys() & set(there)


def test_a_backend_without_exclusive_create_says_so() -> None:
    class Plain(MemoryFileSystem):
        protocol = "plainmemory"
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]

    fsspec.register_implementation("plainmemory", Plain, clobber=True)
    store = LocalWeightsStore("plainmemory://store")
    lease = store.lease("run")
    with pytest.warns(RuntimeWarning, match="cannot create a file exclusively"):
        lease.acquire()
    with pytest.warns(RuntimeWarning), pytest.raises(LeaseHeldError):
        store.lease("run").acquire()
    lease.release()


def test_a_second_lease_that_is_refused_leaves_the_first_one_checked(
    store: LocalWeightsStore, make_run: Any
) -> None:
    with store.lease("run") as held:
        with pytest.raises(LeaseHeldError):
            store.lease("run").acquire()
        path = layout.LEASE.path("run", held.epoch or 0)
        later = layout.LEASE.path("run", (held.epoch or 0) + 1)
        store.filesystem.write_bytes(later, store.filesystem.read_bytes(path))
        with pytest.raises(LeaseLostError):
            store.store_weights(make_run(), 1)
    assert store.iterations("run") == []

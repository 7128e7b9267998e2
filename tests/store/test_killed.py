"""Killed with SIGKILL at any moment of a loop that trains and prunes, the store stays true."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore

SCRIPT = Path(__file__).parent / "processes" / "train_and_prune.py"


class Victims:
    """Starts workers on one store and kills them."""

    def __init__(self, url: str, options: dict[str, Any], log: Path) -> None:
        self.store = LocalWeightsStore(url, options)
        self.open_store = lambda: LocalWeightsStore(url, options)
        self.log = log
        log.touch()
        arguments = json.dumps({"url": url, "options": options, "log": str(log)})
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def kill_one_after(self, seconds: float) -> None:
        """Start a worker, let it store something, and kill it so many seconds later."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        stored = len(self.log.read_text())
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        worker = int(self._process.stdout.readline())
        deadline = time.monotonic() + 60
        while len(self.log.read_text()) == stored and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(seconds)
        os.kill(worker, signal.SIGKILL)
        while Path(f"/proc/{worker}").exists():
            time.sleep(0.005)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def said(self, word: str) -> list[int]:
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [int(line[1]) for line in lines if line[0] == word]


@pytest.fixture
def victims(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Victims]]:
    started: list[Victims] = []

    def start(backend: str) -> Victims:
        url, options = str(tmp_path / "store"), {}
        if backend == "s3":
            server = request.getfixturevalue("s3_server")
            url, options = f"{server.new_folder()}/store", server.storage_options
        started.append(Victims(url, options, tmp_path / "log"))
        return started[-1]

    yield start
    for each in started:
        each.close()


def check(victims: Victims) -> None:
    """What must hold at any moment, seen by a process that was not there before."""
    assert "failed" not in victims.log.read_text()
    store = victims.open_store()
    filesystem = store.filesystem
    there = set(store.iterations("run"))
    stored = victims.said("stored")
    latest = store.latest_iteration("run")
    assert latest is not None
    assert latest >= max(stored), "the latest that was durable is there"
    must_load = {latest, *victims.said("pinned")}
    must_load |= {best.iteration for best in store.best_records("run").values()}
    for iteration in must_load:
        store.verify("run", iteration)
        store.retrieve_weights("run", iteration)

    names = filesystem.file_names("run/records/checkpoints")
    assert {int(name.removesuffix(".json")) for name in names} <= there, "no record of what is gone"
    history = store.history("run")
    assert not history.damaged_records
    for operation in history.operations:
        if operation.kind in ("prune", "reclaim"):
            assert not operation.iterations.keys() & there, "no record says gone of what is there"
    for iteration in set(stored) - there:
        checkpoint = history.checkpoints[iteration]
        assert checkpoint.fate == "pruned"
        assert checkpoint.pruned_by
        assert checkpoint.reasons, "what is gone is on record, with why"


def kill_often(victims: Victims, kills: int, seed: int, longest: float) -> None:
    chance = random.Random(seed)
    for _ in range(kills):
        victims.kill_one_after(chance.uniform(0, longest))
        check(victims)
    victims.store.sweep("run")
    check(victims)
    assert list(victims.store.filesystem.file_names("run/records/pruning")) == []
    assert len(victims.said("stored")) > kills
    assert set(victims.said("stored")) - set(victims.store.iterations("run")), "it did prune"


@pytest.mark.slow
def test_killed_at_some_moments(victims: Callable[[str], Victims]) -> None:
    kill_often(victims("local"), kills=8, seed=1, longest=0.4)


@pytest.mark.slow
@pytest.mark.s3
def test_killed_at_some_moments_on_s3(victims: Callable[[str], Victims]) -> None:
    kill_often(victims("s3"), kills=4, seed=2, longest=1.5)


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("backend", "longest"), [("local", 0.6), pytest.param("s3", 2.0, marks=pytest.mark.s3)]
)
def test_killed_at_fifty_moments(
    victims: Callable[[str], Victims], backend: str, longest: float
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    kill_often(victims(backend), kills=50, seed=seed, longest=longest)

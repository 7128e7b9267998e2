"""An S3-compatible server that is killed, slow, answers 503 or cuts bodies loses nothing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.copy_run import copy_run
from dacapo_core.store.errors import StoreError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from tests.campaign_figures import Campaign
from tests.conftest import BUCKET, S3Server, free_ports, start_s3_server
from tests.store.conftest import SmallRun, equal

SCRIPT = Path(__file__).parents[1] / "processes" / "disturbing_proxy.py"
KIND = "disturbances of an S3-compatible server"
MODES = ["503", "cut", "cut-up", "dead", "slow"]


class Proxy:
    """Stands before a server and disturbs."""

    def __init__(self, server: S3Server) -> None:
        (port,) = free_ports(1)
        behind = server.endpoint_url.rpartition(":")[2]
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(port), behind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def mode(self, name: str, requests: int = 0) -> int:
        """Take a mode; how many requests the last one was done to."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{name} {requests}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    opened = Proxy(s3_server)
    yield opened
    opened.close()


def options(endpoint_url: str) -> dict[str, Any]:
    """One try each, so that the disturbance reaches the store and the campaign ends."""
    config = {"retries": {"max_attempts": 1}, "connect_timeout": 3, "read_timeout": 5}
    return {
        "key": "test",
        "secret": "testtest",
        "endpoint_url": endpoint_url,
        "config_kwargs": config,
    }


class Life:
    """A store that is worked with while its server is disturbed, and what must be in it."""

    def __init__(
        self, url: str, disturbed: dict[str, Any], clean: dict[str, Any], campaign: Campaign
    ) -> None:
        self.store = LocalWeightsStore(url, disturbed)
        self.clean = LocalWeightsStore(url, clean)
        self.campaign = campaign
        self.run = SmallRun()
        self.states: dict[int, Any] = {}
        self.last = 0
        self.acknowledged: set[int] = set()

    def begin(self) -> None:
        for _ in range(3):
            self.store_one(self.clean)
        self.clean.store_best("run", 2, "val", "dice", score=0.5)

    def store_one(self, store: LocalWeightsStore) -> None:
        self.last += 1
        self.run.step()
        self.states[self.last] = self.run.copy_of_state()[0]
        store.store_weights(self.run, self.last)
        self.acknowledged.add(self.last)

    def work(self, chance: random.Random, said: str) -> None:
        """One thing, under the disturbance; it is done, or fails with a typed error."""
        things: list[Callable[[], object]] = [
            lambda: self.store_one(self.store),
            lambda: self.store_one(self.store),
            lambda: self.read(self.store, said),
            lambda: self.store.verify("run", self.clean.iterations("run")[-1]),
            lambda: self.store.store_best("run", max(self.acknowledged), "val", "dice", score=0.7),
            lambda: self.store.prune("run", RetentionPolicy(keep_last=3)),
            lambda: self.store.prune("run", RetentionPolicy(keep_last=2, grace=timedelta(days=1))),
            self.copy,
            lambda: self.store.sweep("run"),
            lambda: self.store.history("run"),
        ]
        try:
            chance.choice(things)()
        except StoreError:
            pass
        except BaseException as error:
            self.campaign.check(False, f"{said}: raw {error!r}")

    def copy(self) -> None:
        target = LocalWeightsStore(f"memory://{uuid.uuid4().hex}")
        for _ in copy_run(self.store, target, "run"):
            pass

    def read(self, store: LocalWeightsStore, said: str) -> None:
        for iteration in store.iterations("run"):
            found = store.retrieve_weights("run", iteration).model
            same = equal(dict(found), dict(self.states[iteration]))
            self.campaign.check(same, f"{said}: {iteration} holds other weights")

    def check(self, said: str) -> None:
        """Looked at through no disturbance: all that is there is whole, none went unsaid."""
        try:
            there = set(self.clean.iterations("run"))
            self.read(self.clean, said)
            best = self.clean.retrieve_best("run", "val", "dice")
            self.campaign.check(best in there, f"{said}: the best {best} is gone")
            history = self.clean.history("run").checkpoints
            gone = {i for i, each in history.items() if each.fate == "pruned" and each.pruned_by}
            lost = self.acknowledged - there - gone
            self.campaign.check(not lost, f"{said}: {sorted(lost)} went without a word")
        except Exception as error:
            self.campaign.check(False, f"{said}: {error!r}")


def disturb(number: int, seed: int, proxy: Proxy, server: S3Server, campaign: Campaign) -> None:
    chance = random.Random(seed)
    url = f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"
    life = Life(url, options(proxy.endpoint_url), server.storage_options, campaign)
    life.begin()
    for turn in range(number):
        mode = MODES[turn % len(MODES)]
        said = f"{mode}, seed {seed}, turn {turn}"
        proxy.mode(mode, chance.choice([1, 2, 4, 30]))
        life.work(chance, said)
        campaign.count(KIND, proxy.mode("pass") > 0)
        life.check(said)


@pytest.mark.slow
@pytest.mark.s3
def test_a_few_disturbances(proxy: Proxy, s3_server: S3Server, campaign: Campaign) -> None:
    disturb(5, 1, proxy, s3_server, campaign)


@pytest.mark.campaign
@pytest.mark.s3
@pytest.mark.timeout(1800)
def test_disturbances(proxy: Proxy, s3_server: S3Server, campaign: Campaign) -> None:
    disturb(130, random.SystemRandom().randrange(10**6), proxy, s3_server, campaign)


@pytest.mark.campaign
@pytest.mark.s3
@pytest.mark.timeout(1800)
def test_a_server_that_is_killed(
    tmp_path_factory: pytest.TempPathFactory, campaign: Campaign
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance, folder = random.Random(seed), tmp_path_factory.mktemp("killed")
    process, server = start_s3_server(folder)
    try:
        url = f"s3://{BUCKET}/killed"
        life = Life(url, options(server.endpoint_url), server.storage_options, campaign)
        life.begin()
        for turn in range(6):
            said = f"killed server, seed {seed}, turn {turn}"
            alarm = subprocess.Popen(
                [sys.executable, "-c", KILL, str(process.pid), str(chance.uniform(0, 0.3))]
            )
            for _ in range(4):
                life.work(chance, said)
            alarm.wait()
            process.wait()
            process, server = start_s3_server(folder, server)
            campaign.count(KIND)
            life.check(said)
    finally:
        process.kill()
        process.wait()


KILL = f"""
import os, sys, time
time.sleep(float(sys.argv[2]))
os.kill(int(sys.argv[1]), {int(signal.SIGKILL)})
"""

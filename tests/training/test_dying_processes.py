"""Processes of a group that are killed: all start again, and end where undisturbed ones do."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import validate_iteration
from tests.conftest import free_ports
from tests.training.launcher import TWO_HERE, finish, launch
from tests.training.test_processes import configuration

# a start of two processes takes half a minute where others use the cores
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).with_name("dying_process.py")
DEATHS = [("forward", 1, 5), ("sum", 0, 6), ("save", 0, 8), ("predict", 1, 12)]
SHARDED_DEATHS = [("forward", 1, 5), ("gather", 1, 8), ("save", 0, 8)]


def write_job(folder: Path, config: RunConfig, deaths: list[tuple[str, int, int]]) -> Path:
    job = folder / "job.json"
    values = {"config": config.model_dump(mode="json"), "store": str(folder / "store")}
    job.write_text(json.dumps({**values, "deaths": deaths}))
    return job


def lines(folder: Path) -> list[tuple[float, list[str]]]:
    log = folder / "log"
    said = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [(float(words[0]), words[1:]) for words in said]


@pytest.mark.parametrize(
    ("sharded", "deaths"), [(False, DEATHS), (True, SHARDED_DEATHS)], ids=["whole", "sharded"]
)
def test_a_death_anywhere_costs_an_interval_at_most(
    tmp_path: Path, small_config: Any, sharded: bool, deaths: list[tuple[str, int, int]]
) -> None:
    # valid padding has several tiles to share out
    config = configuration(
        small_config,
        {"padding": "valid", "input_shape": (24, 24, 24)},
        trainer={"sharded": sharded},
    )
    job = write_job(tmp_path, config, deaths)
    finish(launch(PROGRAM, job, *TWO_HERE, f"--max-restarts={len(deaths)}"))

    said = lines(tmp_path)
    assert [words[1:] for _, words in said if words[0] == "died"] == [
        [what, str(rank), str(at)] for what, rank, at in deaths
    ]
    resumed = [words for _, words in said if words[0] == "resumed"]
    assert [int(words[3]) for words in resumed] == list(range(len(deaths) + 1))
    assert [int(words[1]) for words in resumed[:3]] == [0, 4, 4]
    # a save that was cut off may have been whole already
    assert int(resumed[3][1]) in (4, 8)
    for when, words in said:
        if words[0] == "died":
            assert min(t for t, w in said if t > when and w[0] == "started") - when < 60

    alone, store = Run(config, "cpu"), LocalWeightsStore(tmp_path / "store")
    train_until(alone, 12)
    weights = store.retrieve_weights("small", 12)
    for key, tensor in alone.model.state_dict().items():
        torch.testing.assert_close(weights.model[key], tensor, rtol=1e-3, atol=1e-4)
    store.load_weights(alone, 12)
    (held_out,) = alone.validation_datasets
    (scores,) = [record for record in store.scores("small") if record.iteration == 12]
    assert scores.entries == validate_iteration(alone, held_out).entries


def test_a_machine_that_is_lost_and_comes_back_costs_an_interval_at_most(
    tmp_path: Path, small_config: Any
) -> None:
    """Two launchers stand for two machines; the second is killed with its process."""
    config = configuration(small_config, {}, num_iterations=3000, validation_interval=20)
    job = write_job(tmp_path, config, [])
    (port,) = free_ports(1)
    options = [
        *("--nnodes=2", "--nproc-per-node=1", "--max-restarts=2", "--rdzv-backend=c10d"),
        *(f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"),
    ]
    store = LocalWeightsStore(tmp_path / "store")
    # the first hosts the rendezvous: without it both would have to be started again
    machines = [launch(PROGRAM, job, *options)]
    try:
        wait_for(lambda: listens(port), machines)
        machines.append(launch(PROGRAM, job, *options))
        wait_for(lambda: (store.latest_iteration("small") or 0) >= 20, machines)
        machines[1].kill()
        lost, before = time.time(), store.latest_iteration("small") or 0
        wait_for(lambda: not running(tmp_path), machines[:1])
        assert time.time() - lost < 60
        machines[1] = launch(PROGRAM, job, *options)
        wait_for(lambda: (store.latest_iteration("small") or 0) > before + 20, machines)
        resumed = [int(words[1]) for _, words in lines(tmp_path) if words[0] == "resumed"]
        assert resumed[1] >= before
    finally:
        for machine in machines:
            machine.send_signal(signal.SIGTERM)
        for machine in machines:
            machine.communicate(timeout=60)
    assert not running(tmp_path)


def wait_for(true: Any, alive: list[Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        for process in alive:
            assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def running(folder: Path) -> list[int]:
    """Those of the group's processes that have not ended."""
    pids = [int(words[2]) for _, words in lines(folder) if words[0] == "started"]
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True

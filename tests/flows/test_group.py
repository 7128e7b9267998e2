"""A run of several processes, some of them killed: it goes on, and none of them is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from tests.conftest import free_ports
from tests.flows.test_interrupted_training import start
from tests.training.launcher import LAUNCHER, TWO_HERE, launch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.prefect,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("nothing_left"),
]


@pytest.fixture
def shared(tiny: RunConfig) -> RunConfig:
    """Two processes, and more iterations than a test waits for."""
    values = tiny.model_dump()
    values["trainer_config"] |= {"processes": 2, "max_restarts": 2}
    return RunConfig.model_validate(
        values | {"batch_size": 2, "num_iterations": 100_000, "validation_interval": 10}
    )


def processes_in(folder: Path) -> dict[str, int]:
    """Process ids of those that work in a folder: by rank, ``launcher``, ``flow``."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve() != folder or int(entry.name) == os.getpid():
                continue
            words = (entry / "cmdline").read_text().split("\0")
            settings = (entry / "environ").read_text().split("\0")
        except OSError:
            continue
        rank = next((s.removeprefix("RANK=") for s in settings if s.startswith("RANK=")), None)
        if "flows.group_member" in words and rank is not None:
            found[rank] = int(entry.name)
        elif "dacapo_core.training.launcher" in words:
            found["launcher"] = int(entry.name)
        else:
            found[" ".join(words)] = int(entry.name)
    return found


def wait_until(what: str, seconds: float, true: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def stored(folder: Path) -> int:
    iterations = folder / "runs" / "tiny" / "checkpoints" / "iterations"
    names = os.listdir(iterations) if iterations.is_dir() else []
    return max((int(name) for name in names), default=0)


def wait_for_a_checkpoint(folder: Path) -> None:
    before = stored(folder)
    wait_until("a checkpoint", 300, lambda: stored(folder) > before)


def test_killed_processes_are_started_again_and_all_end_when_asked(
    tmp_path: Path, shared: RunConfig
) -> None:
    process = start(tmp_path, shared)
    wait_for_a_checkpoint(tmp_path)
    for rank in ("1", "0"):
        os.kill(processes_in(tmp_path)[rank], signal.SIGKILL)
        wait_for_a_checkpoint(tmp_path)
    before, asked = stored(tmp_path), time.monotonic()
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert time.monotonic() - asked < 25, said
    wait_until("all end", 10, lambda: not processes_in(tmp_path))
    assert stored(tmp_path) >= before
    assert "started again after the death of a process, time 2 of at most 2" in said
    with LocalWeightsStore(tmp_path / "runs").lease("tiny", owner="the next one"):
        pass


@pytest.mark.parametrize("victim", ["flow", "launcher"])
def test_nothing_outlives_the_process_of_the_flow_run_or_the_launcher(
    tmp_path: Path, shared: RunConfig, victim: str
) -> None:
    process = start(tmp_path, shared)
    wait_for_a_checkpoint(tmp_path)
    if victim == "flow":
        process.kill()
        process.communicate()
    else:
        os.kill(processes_in(tmp_path)["launcher"], signal.SIGKILL)
        said, _ = process.communicate(timeout=30)
        assert "ProcessDiedError" in said
    wait_until("all end", 20, lambda: not processes_in(tmp_path))


@pytest.mark.parametrize(("error", "times"), [("ValueError", 1), ("OSError", 2)])
def test_an_error_that_comes_back_ends_the_launchers_of_all_machines(
    error: str, times: int
) -> None:
    """Two launchers stand for two machines; what cannot pass by itself is not tried again."""
    (port,) = free_ports(1)
    options = [
        *("--nnodes=2", "--nproc-per-node=1", "--max-restarts=1", "--rdzv-backend=c10d"),
        *(f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"),
    ]
    machines = [launch("tests.flows.failing_process", error, *options, "-m") for _ in range(2)]
    try:
        said = [machine.communicate(timeout=400)[0] for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [1, 1], said
    assert sum(each.count(f"{error}: it comes back") for each in said) == times, said
    assert "Traceback" not in "".join(said)


def test_a_configuration_that_cannot_be_read_is_not_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("name: small\nbatch_size: none")
    process = subprocess.run(
        [*LAUNCHER, *TWO_HERE, "--max-restarts=3", "-m", "flows", "train", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )
    assert process.returncode == 1
    # the other process may be ended before it says so too
    assert process.stdout.count("batch_size") in (1, 2)
    assert "Traceback" not in process.stdout

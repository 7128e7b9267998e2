"""A run of several processes, some of them killed: it goes on, and none of them is left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from tests.flows.test_interrupted_training import start

pytestmark = [pytest.mark.slow, pytest.mark.prefect]


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
    wait_until("a checkpoint", 120, lambda: stored(folder) > before)


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

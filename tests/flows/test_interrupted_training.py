"""A training process that is killed or asked to stop, and what the next one makes of it."""

from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import State
from prefect.states import Cancelling, Suspended

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from flows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.usefixtures("nothing_left")]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the processes that are started here: the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def start(folder: Path, config: RunConfig, **settings: str) -> subprocess.Popen[str]:
    """``python -m flows train`` in a folder of its own; with a private server if none is set."""
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
    }
    return subprocess.Popen(
        [sys.executable, "-m", "flows", "train", str(file), "--store", str(folder / "runs")],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1"} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    return said


def kept(folder: Path) -> dict[int, str]:
    """Iteration → digest of all its tensors, of what the store keeps."""
    import xxhash

    store = LocalWeightsStore(folder / "runs")
    found = {}
    for iteration in store.iterations("tiny"):
        digest = xxhash.xxh3_128()
        weights = store.retrieve_weights("tiny", iteration)
        for key, tensor in sorted(weights.model.items()):
            digest.update(key.encode())
            digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
        found[iteration] = digest.hexdigest()
    return found


def wait_for_checkpoints(folder: Path, count: int) -> None:
    iterations = folder / "runs" / "tiny" / "checkpoints" / "iterations"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if iterations.is_dir() and len(list(iterations.iterdir())) >= count:
            return
        time.sleep(0.05)
    raise TimeoutError(f"no {count} checkpoints in {iterations}")


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes whose environment names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(folder).encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_text())
            except OSError:
                continue
    return found


def wait_for_training(folder: Path, name: str = "tiny") -> None:
    """Until it is in its first stretch of training."""
    said = folder / "runs" / name / "records" / "overview.json"
    deadline = time.monotonic() + 240
    while not said.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)


@pytest.mark.parametrize(
    "kills", [1, pytest.param(6, marks=[pytest.mark.campaign, pytest.mark.timeout(1200)])]
)
def test_killed_anywhere_and_restarted_it_keeps_the_same_checkpoints(
    prefect_server: str, one_thread: None, tmp_path: Path, tiny: RunConfig, kills: int
) -> None:
    config = tiny.model_copy(update={"num_iterations": 6 * kills})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    broken.mkdir()
    train(config, str(whole / "runs"))

    pick = random.Random(20260320)
    for _ in range(kills):
        process = start(broken, config)
        wait_for_checkpoints(broken, 1)
        time.sleep(pick.uniform(0, 0.5 if kills == 1 else 8))
        process.kill()
        process.communicate()
    said = finish(start(broken, config))
    assert "resumed at iteration" in said or "nothing to do" in said
    assert kept(broken) == kept(whole)
    with closing(sqlite3.connect(broken / ".prefect" / "prefect" / "prefect.db")) as database:
        states = {state for (state,) in database.execute("select state_type from task_run")}
    assert states <= {"COMPLETED", "CRASHED"}
    deadline = time.monotonic() + 20
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(tmp_path) == []


def test_asked_to_stop_it_stores_what_it_has_and_continues_from_there(
    tmp_path: Path, tiny: RunConfig
) -> None:
    config = tiny.model_copy(update={"num_iterations": 100_000, "validation_interval": 50_000})
    process = start(tmp_path, config)
    wait_for_training(tmp_path)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert time.monotonic() - asked < 30
    assert process.returncode != 0
    (stored,) = LocalWeightsStore(tmp_path / "runs").iterations("tiny")
    assert 0 < stored < 50_000


@pytest.mark.parametrize(
    ("asked", "end", "told"),
    [
        (Cancelling(), "Cancelled", False),
        (Suspended(), "Suspended", False),
        (Cancelling(), "Cancelled", True),
    ],
    ids=["cancel", "suspend", "cancel-by-a-worker"],
)
def test_it_looks_itself_whether_its_flow_run_is_to_end(
    prefect_server: str, tmp_path: Path, tiny: RunConfig, asked: State, end: str, told: bool
) -> None:
    """No worker tells it here, as none tells an orphan, or one does by a signal."""
    name = f"asked-{asked.name.lower()}-{told}"
    config = tiny.model_copy(
        update={"name": name, "num_iterations": 100_000, "validation_interval": 50_000}
    )
    process = start(tmp_path, config, PREFECT_API_URL=prefect_server)
    wait_for_training(tmp_path, name)
    with get_client(sync_client=True) as client:
        wanted = FlowRunFilter(name=FlowRunFilterName(any_=[f"train {name}"]))
        (flow_run,) = client.read_flow_runs(flow_run_filter=wanted)
        client.set_flow_run_state(flow_run.id, asked, force=True)
        if told:
            process.terminate()
        said, _ = process.communicate(timeout=60)
        states = [each.name for each in client.read_flow_run_states(flow_run.id)]
        logged = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run.id])))
        tasks = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
        )
    assert states[-1] == end
    assert "Crashed" not in [*states, *(each.state_name for each in tasks)]
    assert [each.message for each in logged if each.level > logging.INFO] == []
    assert f"The flow run was {end.lower()}" in said
    store = LocalWeightsStore(tmp_path / "runs")
    (stored,) = store.iterations(name)
    assert 0 < stored < 50_000
    with store.lease(name, owner="the next one"):
        pass


def test_deleted_it_stores_what_it_has_and_ends(
    prefect_server: str, tmp_path: Path, tiny: RunConfig
) -> None:
    name = "deleted"
    config = tiny.model_copy(
        update={"name": name, "num_iterations": 100_000, "validation_interval": 50_000}
    )
    process = start(tmp_path, config, PREFECT_API_URL=prefect_server)
    wait_for_training(tmp_path, name)
    with get_client(sync_client=True) as client:
        wanted = FlowRunFilter(name=FlowRunFilterName(any_=[f"train {name}"]))
        (flow_run,) = client.read_flow_runs(flow_run_filter=wanted)
        client.delete_flow_run(flow_run.id)
    process.communicate(timeout=60)
    assert process.returncode != 0
    store = LocalWeightsStore(tmp_path / "runs")
    (stored,) = store.iterations(name)
    assert 0 < stored < 50_000
    with store.lease(name, owner="the next one"):
        pass

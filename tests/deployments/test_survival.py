"""A run whose process is killed under a worker comes back by itself."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore

if TYPE_CHECKING:
    from tests.deployments.conftest import Site

pytestmark = [pytest.mark.prefect, pytest.mark.campaign, pytest.mark.timeout(900)]

LONG: dict[str, Any] = {
    "num_iterations": 400,
    "validation_interval": 50,
    "num_workers": 0,
    "architecture_config": {
        "type": "cnnectome_unet",
        "input_shape": [16, 16, 16],
        "num_fmaps": 4,
        "fmaps_out": 4,
        "downsample_factors": [[2, 2, 2]],
        "padding": "same",
    },
    "task_config": {"type": "one_hot", "channels": ["mito", "pm"], "thresholds": [0.5]},
    "trainer_config": {"warmup_iterations": 1},
    "datasplit_config": {"type": "synthetic", "shape": [24, 24, 24], "num_train": 1},
}


def wait_for(what: str, seconds: float, found: Any) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(1)
    raise TimeoutError(f"{what}: not within {seconds} s")


def process_that_trains(site: Site, run: str) -> int:
    lease = max((site.folder / "runs" / run / "records" / "lease").iterdir())
    return int(json.loads(lease.read_text())["process"]["pid"])


@pytest.mark.parametrize("worker_too", [False, True], ids=["the run alone", "run and worker"])
def test_a_killed_run_is_restarted_and_resumes(site: Site, worker_too: bool) -> None:
    name = f"killed-{worker_too}".lower()
    worker = site.start("deployments", "worker")
    asked = site.run(
        *("prefect", "deployment", "run", "train/default"),
        *("--param", f"run={json.dumps(LONG | {'name': name})}"),
    )
    assert asked.returncode == 0, asked.stdout
    iterations: Path = site.folder / "runs" / name / "checkpoints" / "iterations"
    wait_for("a checkpoint", 180, lambda: iterations.is_dir() and list(iterations.iterdir()))

    if worker_too:
        worker.kill()
    os.kill(process_that_trains(site, name), signal.SIGKILL)
    if worker_too:
        worker.wait()
        worker = site.start("deployments", "worker")

    def flow_run() -> Any:
        wanted = {"flow_runs": {"name": {"any_": [f"train {name}"]}}}
        (found,) = site.post("flow_runs/filter", wanted)
        return found

    killed = time.monotonic()
    wait_for("crashed", 150, lambda: flow_run()["state_type"] != "RUNNING")
    print(f"noticed after {time.monotonic() - killed:.0f} s")
    wait_for("completed", 400, lambda: flow_run()["state_type"] == "COMPLETED")
    print(f"completed after {time.monotonic() - killed:.0f} s")
    assert flow_run()["run_count"] == 2
    store = LocalWeightsStore(site.folder / "runs")
    assert store.latest_iteration(name) == 400
    first = store.training_stats(name)[0]["iteration"]
    assert first[0] == 1
    os.killpg(worker.pid, signal.SIGKILL)

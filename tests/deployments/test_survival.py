"""What becomes of a run when something around it dies, leaves, or asks it to stop."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore
from tests.deployments.processes import begun, running, trains
from tests.deployments.site import Site, kill, running_site, wait_for
from tests.small_run import small_run

pytestmark = [pytest.mark.prefect, pytest.mark.campaign, pytest.mark.timeout(1200)]

SERVER_AWAY_SECONDS = 40.0


@pytest.fixture
def worker(site: Site) -> Iterator[None]:
    process = site.start("deployments", "worker")
    yield
    kill(process)


def test_a_killed_run_is_restarted_and_resumes(site: Site, worker: None) -> None:
    name = "killed-alone"
    id = site.deployment_run("train/default", run=small_run(name, 6000, 400))
    os.kill(begun(site, name, 2), signal.SIGKILL)

    killed = time.monotonic()
    wait_for("crashed", 60, lambda: site.flow_run(id)["state_type"] not in ("RUNNING", "PENDING"))
    print(f"noticed after {time.monotonic() - killed:.0f} s")
    wait_for("completed", 300, lambda: site.flow_run(id)["state_type"] == "COMPLETED", site.log)
    print(f"completed after {time.monotonic() - killed:.0f} s")
    assert site.flow_run(id)["run_count"] == 2
    # what the killed attempt was doing is not shown as running for ever
    assert {task["state_type"] for task in site.task_runs(id)} <= {"COMPLETED", "CRASHED"}
    store = LocalWeightsStore(site.folder / "runs")
    assert store.latest_iteration(name, verified=True) == 6000
    trained = [at for stretch in store.training_stats(name) for at in stretch["iteration"]]
    assert trained == list(range(1, 6001))


def test_a_cancelled_run_stops_stores_and_releases_its_lease(site: Site, worker: None) -> None:
    name = "cancelled"
    config = small_run(name, 100_000, 50_000)
    id = site.deployment_run("train/default", run=config)

    pid = trains(site, id, name)
    store = LocalWeightsStore(site.folder / "runs")
    assert store.latest_iteration(name) is None
    asked = time.monotonic()
    site.post(f"flow_runs/{id}/set_state", {"state": {"type": "CANCELLING"}})
    wait_for("the end of its process", 60, lambda: not running(pid), site.log)
    gone = time.monotonic() - asked
    wait_for("cancelled", 60, lambda: site.flow_run(id)["state_type"] == "CANCELLED", site.log)
    print(f"its process ended after {gone:.1f} s, Cancelled {time.monotonic() - asked:.1f} s")
    assert gone < 30
    assert 0 < (store.latest_iteration(name, verified=True) or 0) < 50_000
    with store.lease(name, owner="the next one"):
        pass


def test_a_cancelled_orphan_stops_stores_and_releases_its_lease(site: Site) -> None:
    name = "cancelled-orphan"
    id = site.deployment_run("train/default", run=small_run(name, 100_000, 50_000))
    worker = site.start("prefect", "worker", "start", "--pool", "gpu")
    pid = trains(site, id, name)
    worker.kill()
    worker.wait()
    asked = time.monotonic()
    site.post(f"flow_runs/{id}/set_state", {"state": {"type": "CANCELLING"}})
    wait_for("the end of its process", 60, lambda: not running(pid), site.log)
    assert site.flow_run(id)["state_type"] == "CANCELLED"
    print(f"cancelled {time.monotonic() - asked:.1f} s after it was asked for")
    store = LocalWeightsStore(site.folder / "runs")
    assert 0 < (store.latest_iteration(name, verified=True) or 0) < 50_000
    with store.lease(name, owner="the next one"):
        pass


def test_a_server_that_is_away_costs_one_log_line_and_no_iteration(tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        (server,) = site.started
        site.start("deployments", "worker")
        name = "on-its-own"
        config = small_run(name, 100_000, 100)
        id = site.deployment_run("train/default", run=config)
        pid = begun(site, name)
        stored = stored_at(site, name)
        kill(server)
        away = time.monotonic()
        while time.monotonic() - away < SERVER_AWAY_SECONDS:
            stored |= stored_at(site, name)
            time.sleep(0.2)
        port = site.api_url.rsplit(":", 1)[1].removesuffix("/api")
        site.start("deployments", "server", "--port", port)
        site.wait_for_server()
        back = time.time()
        wait_for(
            "a report after the server is back",
            120,
            lambda: (
                f"report-{name}" in site.artifacts()
                and LocalWeightsStore(site.folder / "runs").latest_iteration(name)
                and max(stored_at(site, name).values()) > back
            ),
            site.log,
        )
        during = sorted(at for at in stored.values())
        pauses = [later - earlier for earlier, later in itertools.pairwise(during)]
        lines = [line for line in site.log().splitlines() if "not published" in line]
        print(
            f"{len(during)} checkpoints, longest pause {max(pauses):.1f} s, "
            f"median {sorted(pauses)[len(pauses) // 2]:.1f} s; {len(lines)} log lines"
        )
        assert running(pid)
        assert max(pauses) < 20
        assert 1 <= len(lines) <= 2
        # the worker's own watch has given up
        asked = time.monotonic()
        site.post(f"flow_runs/{id}/set_state", {"state": {"type": "CANCELLING"}})
        assert site.ended(id)["state_type"] == "CANCELLED"
        wait_for("the end of its process", 30, lambda: not running(pid), site.log)
        print(f"cancelled {time.monotonic() - asked:.1f} s after it was asked for")
        assert "cancellation will fail" not in site.log()
        assert "the run looks itself" in site.log()
        assert "can't register atexit" not in site.log()


def stored_at(site: Site, name: str) -> dict[int, float]:
    """When each checkpoint that is on record was stored."""
    records = site.folder / "runs" / name / "records" / "checkpoints"
    found: dict[int, Any] = {}
    for file in records.glob("*.json"):
        try:
            json.loads(file.read_text())
            found[int(file.stem)] = file.stat().st_mtime
        except (OSError, ValueError):
            continue
    return found

"""A deployed run of several processes ends as a whole, whoever asks it to."""

from __future__ import annotations

import os
import signal

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore
from tests.deployments.processes import running, trains
from tests.deployments.site import Site, children, kill, wait_for
from tests.small_run import small_run

pytestmark = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.timeout(900)]

NAME = "in-two-processes"


def descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants(child))]


def group(site: Site, id: str, worker: int) -> tuple[int, list[int]]:
    """The flow run's process, and it with all that it started, once they train."""
    rank_0 = trains(site, id, NAME)
    (flow,) = (
        run for place in children(worker) for run in children(place) if rank_0 in descendants(run)
    )
    # the launcher and two processes
    found = [flow, *descendants(flow)]
    assert len(found) >= 4
    return flow, found


def stored(site: Site) -> int:
    """The newest checkpoint of a run whose processes have ended and given back their lease."""
    store = LocalWeightsStore(site.folder / "runs")
    iteration = store.latest_iteration(NAME, verified=True)
    assert iteration is not None
    with store.lease(NAME, owner="the next one"):
        pass
    return iteration


def test_cancelled_or_asked_by_a_signal_all_processes_store_and_end(site: Site) -> None:
    worker = site.start("deployments", "worker", CUDA_VISIBLE_DEVICES="")
    # stored when it is asked to stop alone
    config = small_run(NAME, 100_000, 50_000) | {"batch_size": 2}
    config["trainer_config"] |= {"processes": 2}
    ids: list[str] = []
    try:
        ids.append(site.deployment_run("train/default", run=config))
        _, processes = group(site, ids[0], worker.pid)
        site.post(f"flow_runs/{ids[0]}/set_state", {"state": {"type": "CANCELLING"}})
        wait_for("all end", 180, lambda: not any(map(running, processes)), site.log)
        assert site.ended(ids[0])["state_type"] == "CANCELLED"
        first = stored(site)
        assert 0 < first < 50_000

        ids.append(site.deployment_run("train/default", run=config))
        flow, processes = group(site, ids[1], worker.pid)
        os.kill(flow, signal.SIGTERM)
        wait_for("all end again", 180, lambda: not any(map(running, processes)), site.log)
        assert first < stored(site) < 50_000
    finally:
        for id in ids:
            site.cancel(id)
        kill(worker)

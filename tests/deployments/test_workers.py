"""One worker per GPU, found, started, supervised and ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore
from deployments.visible_devices import visible_devices
from deployments.worker_places import places
from tests.conftest import REPOSITORY
from tests.deployments.processes import begun, environment, running, trainer
from tests.deployments.site import Site, children, kill, wait_for
from tests.small_run import small_run

STARTED = "' started!"


@pytest.mark.parametrize(
    ("listed", "found"),
    [("0,1", ["0", "1"]), ("MIG-7c0f, 3", ["MIG-7c0f", "3"]), ("", []), ("-1", [])],
)
def test_listed_devices_are_served(
    listed: str, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert visible_devices() == found


def test_the_driver_is_asked_for_its_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!{sys.executable}\nprint('0\\n1\\n2')\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices() == ["0", "1", "2"]


def test_each_gpu_has_a_worker_and_light_work_has_its_own() -> None:
    found = places("host", ["0", "GPU-1f"])
    assert [(place.name, place.device, place.limit) for place in found[:2]] == [
        ("host-gpu0", "0", 1),
        ("host-gpuGPU-1f", "GPU-1f", 1),
    ]
    assert found[2].device == ""
    assert {place.queue for place in found[:2]}.isdisjoint({found[2].queue})
    assert [place.name for place in places("host", [])] == ["host-cpu", "host-light"]


ASKED_TWICE = """
import os, signal, sys, threading
from deployments.supervisor import Supervisor
from deployments.worker_places import training_place

obeying = False

def ask_again(frame, event, argument):
    if obeying and event == "call" and frame.f_code is threading.Condition.notify_all.__code__:
        os.kill(os.getpid(), signal.SIGHUP)

def ask():
    global obeying
    sys.stdin.readline()
    obeying = True
    os.kill(os.getpid(), signal.SIGHUP)

threading.Thread(target=ask).start()
sys.setprofile(ask_again)
threading.setprofile(ask_again)
Supervisor([training_place(f"asked-{os.getpid()}", "")], print).run()
"""


@pytest.mark.slow
def test_a_supervisor_that_is_asked_again_while_it_obeys_ends() -> None:
    # as a closed terminal does: the shell passes its signal on and ends, and the kernel sends one
    with subprocess.Popen(
        [sys.executable, "-c", ASKED_TWICE],
        cwd=REPOSITORY,
        env=os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"},
        stdin=subprocess.PIPE,
    ) as supervisor:
        try:
            wait_for("its worker", 240, lambda: children(supervisor.pid))
            supervisor.communicate(b"\n", timeout=60)
            assert supervisor.returncode == 0
        finally:
            kill(supervisor)


@pytest.mark.slow
@pytest.mark.prefect
def test_two_devices_train_two_runs_a_third_waits_and_all_store_when_asked_to_stop(
    site: Site,
) -> None:
    supervisor = site.start("deployments", "worker", CUDA_VISIBLE_DEVICES="0,1")
    runs = [f"beside-{number}" for number in range(3)]
    ids = [site.deployment_run("train/default", run=small_run(name, 100_000, 20)) for name in runs]

    def training() -> dict[str, int]:
        found = {name: trainer(site, name) for name in runs}
        return {name: pid for name, pid in found.items() if pid is not None}

    wait_for("two runs", 240, lambda: len(training()) == 2, site.log)
    processes = training()
    store = LocalWeightsStore(site.folder / "runs")
    wait_for("checkpoints", 240, lambda: all(map(store.latest_iteration, processes)), site.log)
    seen = [environment(pid)["CUDA_VISIBLE_DEVICES"] for pid in processes.values()]
    assert sorted(seen) == ["0", "1"]
    states = {name: site.flow_run(id)["state_type"] for name, id in zip(runs, ids, strict=True)}
    (waiting,) = set(runs) - set(processes)
    assert states.pop(waiting) in ("SCHEDULED", "PENDING")
    assert set(states.values()) <= {"RUNNING", "PENDING"}

    # the third is not to begin when the first two make room
    site.post(f"flow_runs/{ids[runs.index(waiting)]}/set_state", {"state": {"type": "CANCELLED"}})
    before = {name: store.latest_iteration(name) or 0 for name in processes}
    asked = time.monotonic()
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(120)
    print(f"all ended {time.monotonic() - asked:.1f} s after SIGTERM")
    assert supervisor.returncode == 0
    assert not [pid for pid in processes.values() if Path(f"/proc/{pid}").exists()]
    for name in processes:
        # one that was asked while it validated has nothing newer to store
        assert (store.latest_iteration(name, verified=True) or 0) >= before[name]
        with store.lease(name, owner="the next one"):
            pass


@pytest.mark.slow
@pytest.mark.prefect
def test_a_worker_that_dies_is_started_again(site: Site) -> None:
    before = site.log().count(STARTED)
    supervisor = site.start("deployments", "worker", CUDA_VISIBLE_DEVICES="")
    wait_for("their start", 240, lambda: site.log().count(STARTED) == before + 2, site.log)
    first = children(supervisor.pid)
    os.kill(first[0], signal.SIGKILL)
    wait_for("its start", 240, lambda: site.log().count(STARTED) == before + 3, site.log)
    (again,) = set(children(supervisor.pid)) - set(first)
    assert environment(again)["CUDA_VISIBLE_DEVICES"] == ""
    assert "no GPU here: runs train on the CPU" in site.log()
    assert "ended with code -9; again in 1 s" in site.log()
    workers = children(supervisor.pid)
    supervisor.kill()
    supervisor.wait()
    wait_for(
        "the workers to follow their supervisor",
        240,
        lambda: not [pid for pid in workers if running(pid)],
        site.log,
    )


@pytest.mark.slow
@pytest.mark.prefect
def test_the_next_worker_of_a_gpu_waits_for_the_run_that_a_killed_one_left_behind(
    site: Site,
) -> None:
    supervisor = site.start("deployments", "worker", CUDA_VISIBLE_DEVICES="0")
    first, second = "left-behind", "left-behind-too"
    ids = [site.deployment_run("train/default", run=small_run(first, 200, 20))]
    orphan = begun(site, first)
    (killed,) = trainers(supervisor.pid)
    # it must not be done before the supervisor looks
    os.kill(orphan, signal.SIGSTOP)
    os.kill(killed, signal.SIGKILL)
    said = f"ended with code -9; its run (process {orphan}) goes on"
    wait_for("word of it", 240, lambda: said in site.log(), site.log)
    os.kill(orphan, signal.SIGCONT)
    ids.append(site.deployment_run("train/default", run=small_run(second, 100_000, 20)))

    def next_worker() -> int | None:
        found = [pid for pid in trainers(supervisor.pid) if pid != killed]
        assert not (found and running(orphan))
        return found[0] if found else None

    killed = wait_for("the next worker", 240, next_worker, site.log)
    assert site.ended(ids[0])["state_type"] == "COMPLETED"

    # a run that was left behind is asked to stop like any other
    orphan = begun(site, second)
    os.kill(killed, signal.SIGKILL)
    wait_for("the orphan", 240, lambda: f"its run (process {orphan})" in site.log(), site.log)
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(120)
    assert supervisor.returncode == 0
    assert not running(orphan)
    store = LocalWeightsStore(site.folder / "runs")
    assert store.latest_iteration(second, verified=True)
    with store.lease(second, owner="the next one"):
        pass


def trainers(supervisor: int) -> list[int]:
    """The workers of a supervisor that have a GPU."""
    return [pid for pid in children(supervisor) if environment(pid).get("CUDA_VISIBLE_DEVICES")]

"""Every way to end a worker but SIGKILL to its run leaves the run the time to store."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from dacapo_core.store.local_weights_store import LocalWeightsStore
from tests.deployments.processes import running, served, trainer, trains
from tests.deployments.site import Site, children, kill, wait_for
from tests.small_run import small_run

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

# stored at the end alone, or when it is asked to stop
ENDLESS = (100_000, 50_000)


def stored(site: Site, name: str) -> int:
    """The one checkpoint of a run whose process has ended and has given back its lease."""
    store = LocalWeightsStore(site.folder / "runs")
    (iteration,) = store.iterations(name)
    assert store.latest_iteration(name, verified=True) == iteration
    with store.lease(name, owner="the next one"):
        pass
    return iteration


def ended(site: Site, *pids: int) -> None:
    wait_for("the end of runs", 240, lambda: not any(map(running, pids)), site.log)


def test_whoever_is_asked_to_stop_and_by_whatever_the_run_stores(site: Site) -> None:
    supervisor = site.start("deployments", "worker", CUDA_VISIBLE_DEVICES="0,1,2,3,4")
    names = [f"ended-{number}" for number in range(5)]
    ids = [site.deployment_run("train/default", run=small_run(name, *ENDLESS)) for name in names]
    runs = [trains(site, id, name) for id, name in zip(ids, names, strict=True)]
    worker = {run: each for each in children(supervisor.pid) for run in children(each)}

    # a closed terminal, a scheduler's notice
    os.kill(runs[0], signal.SIGHUP)
    os.kill(runs[1], signal.SIGUSR1)
    # a person with `kill`
    os.kill(worker[runs[2]], signal.SIGTERM)
    # a service manager, a scheduler that preempts: all processes at once, and more than once
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
        for pid in (worker[runs[3]], runs[3]):
            os.kill(pid, number)
    ended(site, *runs[:4])
    # the out-of-memory killer
    supervisor.kill()
    supervisor.wait()
    ended(site, runs[4], *worker.values())
    print("stored at", [stored(site, name) for name in names])


@pytest.mark.parametrize("what", ["worker", "train"])
def test_a_closed_terminal_costs_nothing(site: Site, tmp_path: Path, what: str) -> None:
    name = f"in-a-terminal-{what}"
    if what == "worker":
        typed = "-m deployments worker"
        run = small_run(name, *ENDLESS)
        id = site.deployment_run("train/default", run=run)
    else:
        config = tmp_path / "run.yaml"
        config.write_text(yaml.safe_dump(small_run(name, *ENDLESS)))
        typed = f"-m flows train {config} --store {site.folder / 'runs'}"
    terminal, inside = pty.openpty()
    # a shell that has the terminal, with the command in its foreground
    shell = subprocess.Popen(
        ["bash", "-ic", f"{sys.executable} {typed}; true"],
        cwd=site.folder,
        env=site.environment | {"CUDA_VISIBLE_DEVICES": "", "CI": ""},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(inside)
    pid = wait_for("the run", 240, lambda: trainer(site, name), site.log)
    wait_for("its configuration", 240, (site.folder / f"runs/{name}/records/run.json").is_file)
    # before the first iteration there is nothing to store
    if what == "worker":
        trains(site, id, name)
    else:
        os.set_blocking(terminal, False)
        shown = bytearray()

        def iterates() -> bool:
            with suppress(BlockingIOError):
                shown.extend(os.read(terminal, 2**16))
            return b"loss " in shown

        wait_for("its first iterations", 240, iterates, lambda: repr(bytes(shown[-1500:])))
    os.close(terminal)
    ended(site, pid)
    print("stored at", stored(site, name))
    shell.wait(60)


def take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_worker_for_a_device_that_is_served_takes_another_or_refuses(site: Site) -> None:
    first = site.start("deployments", "worker", CUDA_VISIBLE_DEVICES="7")
    wait_for("it", 240, lambda: served(first.pid) == ["", "7"], site.log)
    second = site.start("deployments", "worker", CUDA_VISIBLE_DEVICES="7,8")
    wait_for("the other", 240, lambda: served(second.pid) == ["8"], site.log)
    host = os.uname().nodename
    said = f"there already: {host}-gpu7 (process {first.pid}), {host}-light (process {first.pid})"
    assert said in site.log()
    refused = site.run("deployments", "worker", "--device", "8")
    assert refused.returncode == 1
    assert f"{host}-gpu8 (process {second.pid})" in refused.stdout
    for process in (first, second):
        kill(process)
    # nobody is left behind who would keep the device
    third = site.start("deployments", "worker", CUDA_VISIBLE_DEVICES="7")
    wait_for("the next", 240, lambda: served(third.pid) == ["", "7"], site.log)

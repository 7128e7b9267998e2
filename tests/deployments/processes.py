"""The processes behind a site's runs."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from tests.deployments.site import Site, children, wait_for


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def environment(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def served(supervisor: int) -> list[str]:
    """The devices of a supervisor's workers; "" for one that has none."""
    found = []
    for pid in children(supervisor):
        # it may just have ended
        with suppress(OSError):
            found.append(environment(pid).get("CUDA_VISIBLE_DEVICES", "not yet its own"))
    return sorted(found)


def trainer(site: Site, run: str) -> int | None:
    """The process that trains a run, or did last; None before one does."""
    leases = site.folder / "runs" / run / "records" / "lease"
    if not leases.is_dir() or not (epochs := sorted(leases.iterdir())):
        return None
    return int(json.loads(epochs[-1].read_text())["process"]["pid"])


def trains(site: Site, id: str, run: str) -> int:
    """The process that trains a run, once it is in the middle of an interval."""
    wait_for(
        f"training of {run}",
        240,
        lambda: any(
            task["name"].startswith(f"train {run} until") and task["state_type"] == "RUNNING"
            for task in site.task_runs(id)
        ),
        site.log,
    )
    pid = trainer(site, run)
    assert pid is not None
    return pid


def begun(site: Site, run: str, checkpoints: int = 1) -> int:
    """The process that trains a run, once there are so many checkpoints."""
    folder = site.folder / "runs" / run / "checkpoints" / "iterations"
    wait_for(
        f"a checkpoint of {run}",
        240,
        lambda: folder.is_dir() and len(list(folder.iterdir())) >= checkpoints,
        site.log,
    )
    pid = trainer(site, run)
    assert pid is not None
    return pid

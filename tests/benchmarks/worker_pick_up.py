"""How long a run waits for a free worker: ``python -m tests.benchmarks.worker_pick_up``.

From the moment that a run is asked for to Running, on a real server with one worker that has
nothing else to do. Target: 8 s.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.deployments.site import running_site
from tests.small_run import small_run

ROUNDS = 6


def waited(flow_run: Any) -> float:
    """Seconds from its creation until it was Running."""
    asked, began = (datetime.fromisoformat(flow_run[when]) for when in ("created", "start_time"))
    return (began - asked).total_seconds()


def main() -> None:
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder, running_site(Path(folder)) as site:
        site.start("deployments", "worker", "--device", "")
        for turn in range(ROUNDS + 1):
            id = site.deployment_run("train/default", run=small_run(f"run-{turn}", 1, 1))
            seconds.append(waited(site.ended(id)))
    # the first one waits for the worker's own start, too
    first, *later = seconds
    print(
        f"asked for to Running, load {os.getloadavg()[0]:.1f}: median "
        f"{statistics.median(later):.1f} s, {min(later):.1f} to {max(later):.1f} s; the first, "
        f"with the worker's own start, {first:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main())

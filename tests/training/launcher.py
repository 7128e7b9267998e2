"""Programs under torch's launcher, as torchrun starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LAUNCHER = [sys.executable, "-m", "dacapo_core.training.launcher"]
TWO_HERE = ("--standalone", "--nproc-per-node=2")


def launch(program: Path | str, job: Path | str, *options: str) -> subprocess.Popen[str]:
    """Start it in a session of its own; output of all processes comes together."""
    return subprocess.Popen(
        [*LAUNCHER, *options, str(program), str(job)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 600) -> str:
    """What they said, when all have ended well."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        # the processes have sessions of their own, and end with their launcher
        process.kill()
        raise
    assert process.returncode == 0, said
    return said

"""What a person at a terminal sees, and what a build log does not."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

SCRIPT = """
from prefect.logging import disable_run_logger
from tasks.progress import RunProgress
with disable_run_logger(), RunProgress("run", 9) as progress:
    progress.phase("training")
    progress.at(3, "loss 0.5000 · 1.2 GB")
    progress.note("a note")
"""


def shown(**environment: str) -> str:
    """What reaches a terminal of 100 columns."""
    ours = {name: value for name, value in os.environ.items() if name != "CI"}
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env=ours | {"COLUMNS": "100", "TERM": "xterm", "FORCE_COLOR": "1"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=end,
    )
    os.close(end)
    received = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        received += part
    os.close(terminal)
    assert process.wait() == 0, received.decode()
    return received.decode()


@pytest.mark.slow
def test_a_terminal_shows_the_bar_and_a_build_log_only_the_notes() -> None:
    person = shown()
    assert "run · training" in person
    assert "3/9" in person
    assert "loss 0.5000 · 1.2 GB" in person
    build = shown(CI="true")
    assert "training" not in build
    assert "a note" in build

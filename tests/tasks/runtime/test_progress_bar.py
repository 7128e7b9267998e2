"""What a person at a terminal sees, and what a build log does not."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from prefect.logging import disable_run_logger
from tasks.runtime.progress_bar import RunProgress
progress = RunProgress(sys.argv[1], 100000)
with disable_run_logger(), progress.shown():
    progress.phase("training")
    progress.at(39000, "loss 0.5000", "12.34 samples/s", "lr 1.0e-03", "1.2 GB")
    progress.note("a note")
"""


def shown(run: str = "run", **environment: str) -> str:
    """What reaches a terminal, of 100 columns unless said otherwise."""
    ours = {name: value for name, value in os.environ.items() if name != "CI"}
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, run],
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
    assert "39000/100000" in person
    assert "loss 0.5000 · 12.34 samples/s · lr 1.0e-03" in person
    build = shown(CI="true")
    assert "training" not in build
    assert "a note" in build


@pytest.mark.slow
@pytest.mark.parametrize(
    "run", ["my_finetune", "jrc_mus-liver-zon-1_mito_mito_mem_er_from_setup04"]
)
def test_80_columns_have_room_for_the_iteration_and_the_loss(run: str) -> None:
    (line, *_) = [each for each in shown(run, COLUMNS="80").splitlines() if "39000" in each]
    assert run[:20] in line
    assert "39000/100000" in line
    assert "loss 0.5000" in line
    assert "lr" not in line

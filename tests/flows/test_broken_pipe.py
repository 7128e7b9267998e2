"""A process whose output nobody reads any more goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TALKER = """
import sys, threading
from pathlib import Path
from prefect.logging import disable_run_logger, get_logger
from rich.console import Console
from flows.broken_pipe import survive_broken_pipe

with disable_run_logger():
    survive_broken_pipe()
    survive_broken_pipe()
(watcher,) = [thread for thread in threading.enumerate() if thread.name == "broken-pipe"]
# asking whether it is a terminal, or importing, would let the watcher run
log, console = get_logger("talker"), Console(stderr=True, force_terminal=False, width=80)
console.print("first")
if sys.argv[2] == "line":
    # no other thread runs before the next line is written
    sys.setswitchinterval(1000)
print("begun", flush=True)
if sys.argv[2] == "line":
    sum(range(30_000_000))
else:
    watcher.join(30)
for line in range(3):
    console.print("next")
    log.warning("line %d", line)
print("to nobody", flush=True)
print("to nobody", file=sys.stderr, flush=True)
watcher.join(30)
Path(sys.argv[1]).write_text(str(watcher.is_alive()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", ["line", "watcher"])
def test_a_process_goes_on_whether_a_line_or_the_watcher_meets_the_broken_pipe_first(
    tmp_path: Path, first: str
) -> None:
    ended = tmp_path / "ended"
    process = subprocess.Popen(
        [sys.executable, "-c", TALKER, str(ended), first],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"begun\n"
    process.stderr.close()
    process.stdout.close()
    assert process.wait(60) == 0
    assert ended.read_text() == "False"

"""Starting several processes for one run, by torch's launcher. Imports no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from dacapo_core.data.loader_workers import available_cores

# torch's launcher gives its processes 30 s to store what they have
STOP_SECONDS = 40.0
LOOK_EVERY_SECONDS = 0.1

# how a process ends whose group is not to be started again: it would end the same way
NOT_AGAIN = 65

# tells the launcher that it is to end with the process that started it
PARENT = "DACAPO_LAUNCHER_PARENT"


def started_by_launcher() -> bool:
    """Whether torch's launcher started this process as one of a group."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_first() -> bool:
    """Whether this process is rank 0, or belongs to no group."""
    return not started_by_launcher() or int(os.environ["RANK"]) == 0


def was_started_again() -> bool:
    """Whether the launcher had to start this process's group before."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def end_with_the_parent() -> None:
    """End this process as soon as the one that started it is gone, however it went."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def launcher_command(
    program: Sequence[str], processes: int, max_restarts: int, logs: Path
) -> list[str]:
    """The launcher on this machine alone; output of rank 0 goes where its own does.

    Args:
        program: a module and its arguments.
        logs: folder for the output of the others.
    """
    others = ",".join(f"{rank}:3" for rank in range(1, processes))
    return [
        *(sys.executable, "-m", "dacapo_core.training.launcher"),
        *("--standalone", "--nproc-per-node", str(processes)),
        *("--max-restarts", str(max_restarts)),
        *("--log-dir", str(logs), "--redirects", others, "--module", *program),
    ]


def launcher_environment(processes: int) -> Mapping[str, str]:
    """Of this process, with its cores shared out: each would otherwise take all of them."""
    threads = str(max(1, available_cores() // processes))
    return {"OMP_NUM_THREADS": threads, **os.environ, PARENT: str(os.getpid())}


class Launcher:
    """Torch's launcher as a child of this process; within its block it and its processes live.

    Asked to stop by a signal, it asks every process to store what is worth it and to end; a second
    Ctrl-C ends them at once. Only a main thread can pass signals on.

    Attributes:
        signalled: what this process was sent meanwhile.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
    ) -> None:
        """
        Args:
            signals: that ask to stop.
        """
        self._signals = list(signals)
        self._command = list(command)
        self._environment = dict(environment)
        self.signalled: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Launcher:
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                self._before[number] = signal.signal(number, self._pass_on)
        # a session of its own: Ctrl-C reaches this process alone, which passes it on
        self._process = subprocess.Popen(
            self._command, env=self._environment, start_new_session=True
        )
        if self.signalled is not None:
            # asked while it was being started
            self._process.terminate()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The launcher."""
        assert self._process is not None
        return self._process

    def ended(self, seconds: float) -> bool:
        """Whether it has ended, at the latest after some seconds."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_EVERY_SECONDS)
        return True

    def stop(self) -> None:
        """End it and all its processes; harmless where they have ended."""
        if self.process.poll() is None:
            self.process.terminate()
        if not self.ended(STOP_SECONDS):
            # its processes end with it
            self.process.kill()
            self.process.wait()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if self.signalled is None:
            self.signalled = number
            if self._process is not None:
                self._process.terminate()
        elif number == self.signalled == signal.SIGINT and self._process is not None:
            self._process.kill()

"""Starts the workers of a machine, and starts again those that end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from deployments.marked_processes import marked, signal_group
from deployments.worker_places import MARK, WorkerPlace
from tasks.runtime.stop_signals import catchable

RESTART_SECONDS = (1.0, 5.0, 30.0)
STABLE_SECONDS = 300.0
RUNS_STOP_SECONDS = 25.0
WORKER_STOPS_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.5


@dataclass
class Supervisor:
    """Starts workers, starts again those that end, and ends all of them with itself.

    A run that outlives its worker keeps its GPU; the next worker starts there when it has ended,
    also where both are an earlier supervisor's. Asked to stop, by a signal or a closed terminal,
    it asks the runs first, so that each stores what it has.
    """

    places: Sequence[WorkerPlace]
    say: Callable[[str], None]
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Supervise until asked to stop."""
        asked: SimpleQueue[int] = SimpleQueue()
        for number in catchable():
            # a closed terminal asks twice, and a handler that sets an event would wait for itself
            signal.signal(number, lambda number, _: asked.put(number))
        threading.Thread(target=self._stop_when, args=(asked,), name="asked", daemon=True).start()
        keepers = [
            threading.Thread(target=self._keep, args=(place,), name=place.name)
            for place in self.places
        ]
        for keeper in keepers:
            keeper.start()
        for keeper in keepers:
            keeper.join()

    def _stop_when(self, asked: SimpleQueue[int]) -> None:
        asked.get()
        self._stopping.set()

    def _keep(self, place: WorkerPlace) -> None:
        failures = 0
        worker: subprocess.Popen[bytes] | None = None
        self._outwait(place, worker, "an earlier worker has ended")
        while not self._stopping.is_set():
            began = time.monotonic()
            worker = self._start(place)
            while worker.poll() is None and not self._stopping.wait(LOOK_EVERY_SECONDS):
                pass
            if self._stopping.is_set():
                break
            failures = 0 if time.monotonic() - began > STABLE_SECONDS else failures + 1
            delay = RESTART_SECONDS[min(failures, len(RESTART_SECONDS)) - 1]
            ended = f"worker {place.name} ended with code {worker.returncode}"
            if not self._outwait(place, worker, ended):
                self.say(f"{ended}; again in {delay:.0f} s")
            self._stopping.wait(delay)
        self._stop(place, worker)

    def _outwait(
        self, place: WorkerPlace, worker: subprocess.Popen[bytes] | None, ended: str
    ) -> bool:
        """Wait until no run has the place's GPU; whether one had it."""
        if place.limit > 1 or not (runs := self._runs(place, worker)):
            return False
        self.say(
            f"{ended}; its run (process {', '.join(map(str, runs))}) goes on, the next "
            "worker starts when it has ended"
        )
        while self._runs(place, worker) and not self._stopping.wait(LOOK_EVERY_SECONDS):
            pass
        return True

    def _start(self, place: WorkerPlace) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "deployments.worker", *place.arguments],
            # its end tells that this process is gone
            stdin=subprocess.PIPE,
            env=os.environ | place.environment,
            start_new_session=True,
        )

    def _stop(self, place: WorkerPlace, worker: subprocess.Popen[bytes] | None) -> None:
        """Ask worker and runs, also those that a worker left behind; then end what is left."""
        if worker is not None:
            # it takes no run any more, and asks its own
            worker.terminate()
        for run in self._runs(place, worker, left_behind=True):
            signal_group(run, signal.SIGTERM)
        deadline = time.monotonic() + RUNS_STOP_SECONDS + WORKER_STOPS_SECONDS
        while time.monotonic() < deadline and (
            (worker is not None and worker.poll() is None) or self._runs(place, worker)
        ):
            time.sleep(0.1)
        if worker is not None:
            worker.kill()
        for run in self._runs(place, worker):
            signal_group(run, signal.SIGKILL)

    def _runs(
        self,
        place: WorkerPlace,
        worker: subprocess.Popen[bytes] | None,
        *,
        left_behind: bool = False,
    ) -> list[int]:
        """What workers of this place have started, without what that has started in turn.

        Args:
            left_behind: without what this worker has started.
        """
        found = marked(MARK, place.mark)
        known = None if worker is None else worker.pid
        return sorted(
            pid
            for pid, parent in found.items()
            if pid != known and (parent not in found or (parent == known and not left_behind))
        )

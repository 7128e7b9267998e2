"""Workers of the pool: one run at a time on each GPU, and one worker for what needs none."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployments.processes import marked, signal_group

WORK_POOL = "gpu"
TRAINING_QUEUE = "default"
LIGHT_QUEUE = "light"
LIGHT_RUNS = 4

RESTART_SECONDS = (1.0, 5.0, 30.0)
STABLE_SECONDS = 300.0
RUNS_STOP_SECONDS = 25.0
WORKER_STOPS_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.5

# tells the runs of a worker also when they have outlived it
MARK = "DACAPO_WORKER"


@dataclass(frozen=True)
class WorkerPlace:
    """One worker: its name, its queue, how many runs at a time, and the GPUs that they see."""

    name: str
    queue: str
    limit: int
    device: str

    @property
    def command(self) -> list[str]:
        """Prefect's arguments that start it."""
        return [
            *("worker", "start", "--pool", WORK_POOL, "--work-queue", self.queue),
            *("--limit", str(self.limit), "--name", self.name),
        ]

    @property
    def environment(self) -> dict[str, str]:
        """What its runs need to see that device alone; indices as ``nvidia-smi`` counts."""
        return {"CUDA_VISIBLE_DEVICES": self.device, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def training_place(host: str, device: str) -> WorkerPlace:
    """The worker of one GPU; of the CPU where ``device`` is empty."""
    return WorkerPlace(f"{host}-{f'gpu{device}' if device else 'cpu'}", TRAINING_QUEUE, 1, device)


def places(host: str, devices: Sequence[str]) -> list[WorkerPlace]:
    """All workers of a machine. Pruning and sweeps do not wait for a GPU, nor hold one."""
    return [
        *(training_place(host, device) for device in devices or [""]),
        WorkerPlace(f"{host}-light", LIGHT_QUEUE, LIGHT_RUNS, ""),
    ]


@dataclass
class Supervisor:
    """Starts workers, starts again those that end, and ends all of them with itself.

    A run that outlives its worker keeps its GPU; the next worker starts there when it has ended.
    Asked to stop by SIGTERM, Ctrl-C or a closed terminal, it asks the runs first, so that each
    stores what it has.
    """

    places: Sequence[WorkerPlace]
    say: Callable[[str], None]
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Supervise until asked to stop."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stopping.set())
        keepers = [
            threading.Thread(target=self._keep, args=(place,), name=place.name)
            for place in self.places
        ]
        for keeper in keepers:
            keeper.start()
        for keeper in keepers:
            keeper.join()

    def _keep(self, place: WorkerPlace) -> None:
        failures = 0
        worker: subprocess.Popen[bytes] | None = None
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
            if place.limit == 1 and (runs := self._runs(place, worker)):
                self.say(
                    f"{ended}; its run (process {', '.join(map(str, runs))}) goes on, the next "
                    "worker starts when it has ended"
                )
                while self._runs(place, worker) and not self._stopping.wait(LOOK_EVERY_SECONDS):
                    pass
            else:
                self.say(f"{ended}; again in {delay:.0f} s")
            self._stopping.wait(delay)
        if worker is not None:
            self._stop(place, worker)

    def _start(self, place: WorkerPlace) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "deployments.workers", *place.command],
            env=os.environ | place.environment | {MARK: self._mark(place)},
            start_new_session=True,
        )

    def _stop(self, place: WorkerPlace, worker: subprocess.Popen[bytes]) -> None:
        """Ask the runs first, also those that a worker left behind; then end what is left."""
        asked = self._runs(place, worker)
        for run in asked:
            signal_group(run, signal.SIGTERM)
        deadline = time.monotonic() + RUNS_STOP_SECONDS
        while time.monotonic() < deadline and set(asked) & set(self._runs(place, worker)):
            time.sleep(0.1)
        worker.terminate()
        try:
            worker.wait(WORKER_STOPS_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
        for run in self._runs(place, worker):
            signal_group(run, signal.SIGKILL)

    def _runs(self, place: WorkerPlace, worker: subprocess.Popen[bytes]) -> list[int]:
        """What workers of this place have started, without what that has started in turn."""
        found = marked(MARK, self._mark(place))
        found.pop(worker.pid, None)
        return sorted(pid for pid, parent in found.items() if parent not in found)

    def _mark(self, place: WorkerPlace) -> str:
        return f"{place.name} of {os.getpid()}"


def become_prefect(*arguments: str) -> None:
    """Go on as Prefect's command line, so that a signal reaches it and nothing is left behind.

    A shell starts background processes deaf to Ctrl-C, and Prefect's workers then to SIGTERM too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.execv(sys.executable, [sys.executable, "-m", "prefect", *arguments])


def _end_with_the_supervisor() -> None:
    """Have the kernel send SIGTERM when the supervisor is gone: two workers never share a GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    _end_with_the_supervisor()
    become_prefect(*sys.argv[1:])

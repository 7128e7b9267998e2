"""Locks that keep two workers of a machine from serving one device."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from deployments.worker_places import TRAINING_QUEUE, WorkerPlace


@contextmanager
def served_here(places: Sequence[WorkerPlace], api_url: str) -> Iterator[list[WorkerPlace]]:
    """Lock the places that no other process of this user serves on this machine; yields those.

    A GPU has one worker, whatever server that asks for work; a CPU has one for each server.

    Raises:
        SystemExit: no training is left for this process; it says who serves.
    """
    with ExitStack() as held:
        free, taken = [], {}
        for place in places:
            file = _file(place, api_url)
            # the operating system gives it back when its holder dies
            lock = FileLock(file)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                taken[place.name] = _holder(file)
                continue
            held.callback(lock.release)
            _holder_file(file).write_text(str(os.getpid()))
            free.append(place)
        said = ", ".join(f"{name} (process {pid})" for name, pid in taken.items())
        if not any(place.queue == TRAINING_QUEUE for place in free):
            raise SystemExit(
                f"this machine has these workers already: {said}. Each device trains one run at "
                "a time; end them first, or name another device with --device"
            )
        if taken:
            names = ", ".join(place.name for place in free)
            print(f"there already: {said}; started here: {names}", flush=True)
        yield free


def _file(place: WorkerPlace, api_url: str) -> Path:
    served = place.device or f"{place.queue} of {api_url}"
    digest = hashlib.sha256(served.encode()).hexdigest()[:16]
    # a file of another user could not be locked when that user is gone
    return Path(tempfile.gettempdir()) / f"dacapo-worker-{os.getuid()}-{digest}.lock"


def _holder_file(file: Path) -> Path:
    # on some systems a locked file cannot be read
    return file.with_suffix(".pid")


def _holder(file: Path) -> str:
    try:
        return _holder_file(file).read_text()
    except OSError:
        return "?"

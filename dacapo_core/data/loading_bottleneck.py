"""What preparing batches costs, and why training waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from time import perf_counter, process_time, thread_time
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

# the share of time below which waiting is not reported
WORTH_SAYING = 0.1
_ALL_BUSY = 0.85
_MOSTLY = 0.5


class WaitingCause(Enum):
    """Why training waits for data."""

    READING = "reading"
    DECODING = "decoding"
    FEW_WORKERS = "too few workers"
    DEVICE = "making the batches on the device"


@dataclass
class WorkTimes:
    """What preparing batches cost, in seconds.

    Attributes:
        at_work, at_work_cpu: time that the workers worked, and their CPU time, summed over them.
        waited, waited_cpu: time that training waited for a batch, and the CPU time of all threads
            meanwhile.
    """

    at_work: float = 0.0
    at_work_cpu: float = 0.0
    waited: float = 0.0
    waited_cpu: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def working(self, job: Callable[[Given], Made]) -> Callable[[Given], Made]:
        """`job`, its time counted as work."""

        def counted(given: Given) -> Made:
            began, began_cpu = perf_counter(), thread_time()
            try:
                return job(given)
            finally:
                with self._lock:
                    self.at_work += perf_counter() - began
                    self.at_work_cpu += thread_time() - began_cpu

        return counted

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time in which training waits for a batch."""
        began, began_cpu = perf_counter(), process_time()
        try:
            yield
        finally:
            self.waited += perf_counter() - began
            self.waited_cpu += process_time() - began_cpu


def waiting_cause(times: WorkTimes, seconds: float, workers: int, cores: int) -> WaitingCause:
    """Why training waited in a stretch of `seconds`.

    Args:
        workers: threads that prepare batches; 0 where the training itself does.
        cores: that this process may use.
    """
    if workers == 0:
        return WaitingCause.FEW_WORKERS
    if times.waited_cpu >= _ALL_BUSY * cores * times.waited:
        return WaitingCause.DECODING
    if times.at_work < _MOSTLY * workers * seconds:
        return WaitingCause.DEVICE
    if times.at_work_cpu >= _MOSTLY * times.at_work:
        # they compute, and there are cores for more of them
        return WaitingCause.FEW_WORKERS
    return WaitingCause.READING


def waiting_advice(
    cause: WaitingCause, workers: int, cores: int, streamed: bool, augmented: bool
) -> str:
    """What to change, for the log.

    Args:
        streamed: whether any volume is read from where it is stored.
        augmented: whether patches are deformed.
    """
    if cause is WaitingCause.FEW_WORKERS:
        return f"{workers} prepare batches and {cores} cores are there: raise num_workers"
    if cause is WaitingCause.READING:
        return (
            "the storage answers too slowly: copy the volumes nearer, store them in chunks about "
            f"as large as a patch, or raise num_workers (now {workers}), so that more is under way"
        )
    lighter = ", or leave elastic deformation out" if augmented else ""
    if cause is WaitingCause.DEVICE:
        return f"the workers are idle: make patches smaller{lighter}"
    if streamed:
        return (
            f"all {cores} cores are busy: give the run more, store the volumes with a lighter "
            "compression, or give it the memory to keep them"
        )
    return f"all {cores} cores are busy: give the run more{lighter}"

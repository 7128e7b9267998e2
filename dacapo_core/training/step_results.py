"""What steps came to, read by the host some steps later, while the device goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import torch

from dacapo_core.data.loader import Loaded
from dacapo_core.training.step import StepResult
from dacapo_core.training.training_stats import TrainingIterationStats

# steps that the host may be ahead of the device; each holds a batch
LAG = 2


@dataclass(frozen=True)
class Finished:
    """A step that the device has done.

    Attributes:
        faulty: its batch was made from values that cannot be used.
    """

    stats: TrainingIterationStats
    faulty: bool


@dataclass
class _Queued:
    iteration: int
    rate: float
    loaded: Loaded
    values: torch.Tensor
    done: torch.cuda.Event | None


class Readback:
    """Loss, norm and time of each step, in order, without the host waiting for the last ones.

    On a CPU, where nothing is queued, each is there at once.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._queued: deque[_Queued] = deque()
        self._before = perf_counter()
        self._last: torch.cuda.Event | None = None

    def add(self, iteration: int, rate: float, loaded: Loaded, result: StepResult) -> None:
        """Take up the step that was queued last."""
        faults = [part.fault.float() for part in loaded.parts if part.fault is not None]
        fault = torch.stack(faults).max() if faults else torch.zeros_like(result.loss)
        values = torch.stack([result.loss.float(), result.norm.float(), fault])
        done = None
        if self._device.type == "cuda":
            host = torch.empty(values.shape, pin_memory=True)
            values = host.copy_(values, non_blocking=True)
            done = torch.cuda.Event(enable_timing=True)
            done.record(torch.cuda.current_stream(self._device))
        self._queued.append(_Queued(iteration, rate, loaded, values, done))

    def finished(self, at_most: int = LAG) -> Iterator[Finished]:
        """The steps that are done; waits until no more than `at_most` are not."""
        while self._queued:
            first = self._queued[0]
            if first.done is not None and not first.done.query():
                if len(self._queued) <= at_most:
                    return
                first.done.synchronize()
            yield self._read(self._queued.popleft())

    def _read(self, queued: _Queued) -> Finished:
        loss, norm, fault = queued.values.tolist()
        seconds, waited = self._times(queued)
        queued.loaded.release()
        taken = bool(torch.tensor([loss, norm]).isfinite().all())
        stats = TrainingIterationStats(
            queued.iteration, loss, norm, queued.rate, seconds, not taken, waited
        )
        return Finished(stats, bool(fault))

    def _times(self, queued: _Queued) -> tuple[float, float]:
        """Seconds from the step before to the end of this one, and those spent without a batch."""
        if queued.done is None or queued.loaded.marks is None:
            now = perf_counter()
            seconds, self._before = now - self._before, now
            return seconds, min(queued.loaded.waited, seconds)
        before, after = queued.loaded.marks
        seconds = (self._last or before).elapsed_time(queued.done) / 1000
        self._last = queued.done
        return seconds, min(before.elapsed_time(after) / 1000, seconds)

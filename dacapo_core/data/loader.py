"""Batches prepared ahead of the device that trains on them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import torch

from dacapo_core.data.batch_source import Batch, BatchSource
from dacapo_core.data.loading_bottleneck import WorkTimes

# batches that are ready or in the making while the device trains on another
AHEAD = 2


class Loaded:
    """A batch on its way through a training step.

    Attributes:
        parts: the batch; work that is queued on the device from now on may use it.
        waited: seconds that the host waited for it, where batches are made on the host.
        marks: on CUDA, events between which the device did nothing but wait for it.
    """

    def __init__(
        self,
        parts: list[Batch],
        *,
        waited: float = 0.0,
        marks: tuple[torch.cuda.Event, torch.cuda.Event] | None = None,
        on_release: Callable[[], object] | None = None,
    ) -> None:
        self.parts = parts
        self.waited = waited
        self.marks = marks
        self._on_release = on_release

    def release(self) -> None:
        """Say that the device has finished with it, so that its memory can be used again."""
        self.parts = []
        if self._on_release is not None:
            self._on_release()
            self._on_release = None


@contextmanager
def load_batches(
    source: BatchSource[Any],
    device: torch.device,
    start: int,
    stop: int,
    workers: int,
    times: WorkTimes | None = None,
) -> Iterator[Iterator[Loaded]]:
    """The batches from `start` up to, not including, `stop`, at least two ahead of their use.

    On CUDA, `AHEAD` + 1 batches are there at a time: each must be released before the one after
    the next two can come.

    Args:
        device: where batches are made. On CUDA that goes on beside the training, on a stream of
            its own.
        workers: threads that read, and on a CPU make, batches; 0 prepares each when it is
            asked for.
        times: counts what it cost.
    """
    times = times or WorkTimes()
    with (
        _threads(workers) as threads,
        closing(
            _on_cuda(source, device, start, stop, threads, workers, times)
            if device.type == "cuda"
            else _on_host(source, start, stop, threads, workers, times)
        ) as batches,
    ):
        yield batches


def _on_host(
    source: BatchSource[Any],
    start: int,
    stop: int,
    threads: ThreadPoolExecutor,
    workers: int,
    times: WorkTimes,
) -> Generator[Loaded]:
    depth = max(AHEAD, workers) if workers else 0
    for future in _ahead(threads, times.working(source.batch), start, stop, depth):
        began = perf_counter()
        with times.waiting():
            parts = future.result()
        yield Loaded(parts, waited=perf_counter() - began)


def _on_cuda(
    source: BatchSource[Any],
    device: torch.device,
    start: int,
    stop: int,
    threads: ThreadPoolExecutor,
    workers: int,
    times: WorkTimes,
) -> Generator[Loaded]:
    def read(iteration: int) -> list[Any]:
        return [crops.pinned() for crops in source.read_batch(iteration)]

    reads = _ahead(threads, times.working(read), start, stop, max(AHEAD, workers))
    made: SimpleQueue[tuple[list[Batch], torch.cuda.Event] | BaseException] = SimpleQueue()
    room = threading.Semaphore(AHEAD + 1)
    ended = threading.Event()

    def make() -> None:
        stream = torch.cuda.Stream(device)
        try:
            with torch.cuda.device(device), torch.cuda.stream(stream):
                for future in reads:
                    room.acquire()
                    if ended.is_set():
                        return
                    parts = source.make_batch(future.result())
                    made.put((parts, stream.record_event(torch.cuda.Event())))
                    del parts
        except BaseException as error:
            made.put(error)

    maker = threading.Thread(target=make, name="batches-on-device", daemon=True)
    maker.start()
    current = torch.cuda.current_stream(device)
    try:
        for _ in range(start, stop):
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record(current)
            with times.waiting():
                item = made.get()
            if isinstance(item, BaseException):
                raise item
            parts, ready = item
            current.wait_event(ready)
            after.record(current)
            loaded = Loaded(parts, marks=(before, after), on_release=room.release)
            del item, parts
            yield loaded
            del loaded
    finally:
        ended.set()
        room.release()
        maker.join()
        reads.close()
        # memory of batches that are still being trained on must not be made into others
        current.synchronize()


def _ahead(
    threads: ThreadPoolExecutor, job: Callable[[int], Any], start: int, stop: int, depth: int
) -> Generator[Future[Any]]:
    """Futures of `job` for each number in order; as one is given out, `depth` more are begun."""
    pending: deque[Future[Any]] = deque()
    numbers = iter(range(start, stop))
    try:
        for given in range(start, stop):
            wanted = min(depth + 1, stop - given)
            while len(pending) < wanted:
                pending.append(threads.submit(job, next(numbers)))
            yield pending.popleft()
    finally:
        for future in pending:
            future.cancel()


@contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads whose torch operations use one thread each.

    Training has the others; and what is made does not depend on how many there are.
    """
    count = max(1, workers)
    threads = torch.get_num_threads()
    started = threading.Barrier(count + 1)

    def start() -> None:
        # a thread takes over the number of all when it is first asked; only then it has its own
        torch.get_num_threads()
        torch.set_num_threads(1)
        started.wait()

    executor = ThreadPoolExecutor(count, thread_name_prefix="batches", initializer=start)
    try:
        try:
            for _ in range(count):
                executor.submit(lambda: None)
            started.wait()
        except BaseException:
            # those that started would wait for ever for one that could not
            started.abort()
            raise
        # new threads take the number that was set last, whichever thread it was set in
        torch.set_num_threads(threads)
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)

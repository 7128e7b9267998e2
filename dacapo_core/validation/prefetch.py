"""Blocks of raw data that are read and uploaded while the network predicts."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

Place = TypeVar("Place")

MOST_READERS = 4
UPLOADED = 2


def prefetched(
    read: Callable[[Place], NDArray[Any]], places: Iterable[Place], device: torch.device
) -> Generator[Tensor]:
    """The blocks that `read` gives for each of `places`, in order, on `device`.

    Threads read ahead, and on a GPU two blocks are uploaded ahead, on a stream of their own. Close
    the iterator when leaving it early.

    Raises:
        Exception: what `read` raised, at that place.
    """
    gpu = device.type == "cuda"
    readers = max(1, min(MOST_READERS, (os.cpu_count() or 1) // 2))
    stream = torch.cuda.Stream(device) if gpu else None
    waiting: deque[Future[Tensor]] = deque()
    uploaded: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()
    left = iter(places)

    def read_one(place: Place) -> Tensor:
        block = torch.from_numpy(read(place))
        return block.pin_memory() if gpu else block

    def upload(block: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
        if stream is None:
            return block, None
        with torch.cuda.stream(stream):
            return block.to(device, non_blocking=True), stream.record_event()

    pool = ThreadPoolExecutor(readers, thread_name_prefix="read-ahead")
    try:
        while True:
            for place in itertools.islice(left, readers + 1 - len(waiting)):
                waiting.append(pool.submit(read_one, place))
            while waiting and len(uploaded) < (UPLOADED if gpu else 1):
                if uploaded and not waiting[0].done():
                    break
                uploaded.append(upload(waiting.popleft().result()))
            if not uploaded:
                return
            block, event = uploaded.popleft()
            if event is not None:
                current = torch.cuda.current_stream(device)
                current.wait_event(event)
                # its memory is not handed out again before the network has read it
                block.record_stream(current)
            yield block
    finally:
        pool.shutdown(cancel_futures=True)

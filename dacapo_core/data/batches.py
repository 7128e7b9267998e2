"""The batches of a run, each decided by the seed and its iteration alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# raw, target and weight of one patch, each (channels, *shape)
Sample = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Batch:
    """Part of a batch: raw ``(n, channels, *shape)``, target and weight of the output's shape."""

    raw: Tensor
    target: Tensor
    weight: Tensor


@dataclass(frozen=True)
class BatchSource:
    """Makes any batch of a run, in any order.

    Patch ``i`` of an iteration is drawn from the i-th child of
    ``default_rng([seed, iteration])``. So it does not matter what was drawn before, how many
    threads prepare batches, or into how many parts and processes a batch is split.
    """

    sample: Callable[[np.random.Generator], Sample]
    seed: int
    batch_size: int
    parts: int = 1
    rank: int = 0
    processes: int = 1
    pin_memory: bool = False

    def batch(self, iteration: int) -> list[Batch]:
        """This process's share of the batch of `iteration` (from 0), in `parts` equal parts."""
        generators = np.random.default_rng([self.seed, iteration]).spawn(self.batch_size)
        share = self.batch_size // self.processes
        mine = generators[self.rank * share : (self.rank + 1) * share]
        size = share // self.parts
        return [
            self._part([self.sample(generator) for generator in mine[start : start + size]])
            for start in range(0, share, size)
        ]

    def _part(self, samples: list[Sample]) -> Batch:
        # one patch is a batch as it is; a copy of large ones costs as much as their augmentation
        raw, target, weight = (
            torch.from_numpy(arrays[0][None] if len(arrays) == 1 else np.stack(arrays))
            for arrays in zip(*samples, strict=True)
        )
        if self.pin_memory:
            raw, target, weight = raw.pin_memory(), target.pin_memory(), weight.pin_memory()
        return Batch(raw, target, weight)

    @contextmanager
    def stream(self, start: int, stop: int, workers: int) -> Iterator[Iterator[list[Batch]]]:
        """The batches from `start` up to, not including, `stop`, prepared ahead by `workers`."""
        if workers == 0:
            yield (self.batch(iteration) for iteration in range(start, stop))
            return
        executor = ThreadPoolExecutor(workers, thread_name_prefix="batches")
        try:
            yield self._ahead(executor, start, stop, workers + 1)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def _ahead(
        self, executor: ThreadPoolExecutor, start: int, stop: int, depth: int
    ) -> Iterator[list[Batch]]:
        pending: list[Future[list[Batch]]] = []
        submitted = start
        for _ in range(start, stop):
            while submitted < stop and len(pending) < depth:
                pending.append(executor.submit(self.batch, submitted))
                submitted += 1
            yield pending.pop(0).result()

"""The batches of a run, each decided by the seed and its iteration alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

Crops = TypeVar("Crops")


@dataclass(frozen=True)
class Batch:
    """Part of a batch, on the device that trains.

    Attributes:
        raw: ``(n, channels, *shape)`` float32.
        target, weight: of the output's shape, float32 or bool.
        fault: whether it holds values that cannot be used (NaN, unknown labels), a bool; None where
            there can be none.
    """

    raw: Tensor
    target: Tensor
    weight: Tensor
    fault: Tensor | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """Its tensors, without those that are None."""
        return [
            each for each in (self.raw, self.target, self.weight, self.fault) if each is not None
        ]


@dataclass(frozen=True)
class BatchSource(Generic[Crops]):
    """Makes any batch of a run, in any order.

    Patch ``i`` of an iteration is drawn from the i-th child of
    ``default_rng([seed, iteration])``. So it does not matter what was drawn before, how many
    threads prepare batches, or into how many parts and processes a batch is split.

    Attributes:
        read: draws a patch by a generator and reads what it is made from, on the host.
        make: makes part of a batch of what was read; only queues work on a device.
    """

    read: Callable[[np.random.Generator], Crops]
    make: Callable[[Sequence[Crops]], Batch]
    seed: int
    batch_size: int
    parts: int = 1
    rank: int = 0
    processes: int = 1

    def generators(self, iteration: int) -> list[np.random.Generator]:
        """The generators of this process's patches in the batch of `iteration` (from 0)."""
        generators = np.random.default_rng([self.seed, iteration]).spawn(self.batch_size)
        share = self.batch_size // self.processes
        return generators[self.rank * share : (self.rank + 1) * share]

    def read_batch(self, iteration: int) -> list[Crops]:
        """What this process's share of the batch of `iteration` (from 0) is made from."""
        return [self.read(generator) for generator in self.generators(iteration)]

    def make_batch(self, crops: Sequence[Crops]) -> list[Batch]:
        """The batch of what was read, in `parts` equal parts."""
        size = len(crops) // self.parts
        return [self.make(crops[start : start + size]) for start in range(0, len(crops), size)]

    def batch(self, iteration: int) -> list[Batch]:
        """This process's share of the batch of `iteration` (from 0), in `parts` equal parts."""
        return self.make_batch(self.read_batch(iteration))

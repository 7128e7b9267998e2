"""The learning rate over a run."""

from __future__ import annotations

from math import cos, pi
from typing import Literal


def learning_rate_factor(
    iteration: int,
    num_iterations: int,
    warmup_iterations: int,
    schedule: Literal["cosine", "constant"],
) -> float:
    """Share of the highest learning rate with which `iteration` (from 0) is trained.

    A linear warm-up over at most a quarter of the run, then a cosine to zero (Loshchilov and
    Hutter 2017) or a constant.
    """
    warmup = min(warmup_iterations, num_iterations // 4)
    if iteration < warmup:
        return (iteration + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    progress = min(1.0, (iteration - warmup) / (num_iterations - warmup))
    return 0.5 * (1 + cos(pi * progress))

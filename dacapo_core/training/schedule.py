"""The learning rate over a run, and over one that is extended. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi, sqrt
from typing import Literal, NamedTuple

Schedule = Literal["cosine", "constant", "wsd"]
Extending = Literal["hold", "warm_up"]

DECAY_SHARE = 0.2


class Extension(NamedTuple):
    """A run that was given more iterations.

    Attributes:
        at: how many were done.
        planned: how many it was to have before.
        rate: what becomes of the learning rate, see ``TrainerConfig.extension``.
    """

    at: int
    planned: int
    rate: Extending


def learning_rate_factor(
    iteration: int,
    num_iterations: int,
    warmup_iterations: int,
    schedule: Schedule,
    extensions: Sequence[Extension] = (),
) -> float:
    """Share of the highest learning rate with which `iteration` (from 0) is trained.

    A linear warm-up over at most a quarter of the run, then a cosine to zero (Loshchilov and
    Hutter 2017), a constant, or a constant whose last fifth falls to zero as one minus a square
    root (warm-up–stable–decay; Hägele et al. 2024, arXiv 2405.18392).

    An extension after the warm-up never lets the rate jump: it stays at what it was until the
    schedule of the longer run falls below it, or rises to that schedule over a second warm-up.

    Args:
        extensions: in order.
    """
    first = extensions[0].planned if extensions else num_iterations
    warmup = min(warmup_iterations, first // 4)
    ends = [*(extension.planned for extension in extensions), num_iterations]
    past = [extension for extension in extensions if extension.at <= iteration]
    factor = _scheduled(iteration, ends[len(past)], warmup, schedule)
    if not past or past[-1].at <= warmup:
        return factor
    last = past[-1]
    before = learning_rate_factor(
        last.at - 1, last.planned, warmup_iterations, schedule, extensions[: len(past) - 1]
    )
    if last.rate == "hold" or factor <= before:
        return min(factor, before)
    rise = min(warmup_iterations, (ends[len(past)] - last.at) // 4)
    if iteration >= last.at + rise:
        return factor
    return before + (factor - before) * (iteration - last.at + 1) / (rise + 1)


def _scheduled(iteration: int, num_iterations: int, warmup: int, schedule: Schedule) -> float:
    if iteration < warmup:
        return (iteration + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        begin, shape = warmup, _cosine
    else:
        begin, shape = max(warmup, round(num_iterations * (1 - DECAY_SHARE))), _one_minus_root
    if iteration < begin:
        return 1.0
    return shape(min(1.0, (iteration - begin) / max(1, num_iterations - begin)))


def _cosine(progress: float) -> float:
    return 0.5 * (1 + cos(pi * progress))


def _one_minus_root(progress: float) -> float:
    return 1 - sqrt(progress)


def extension_notice(
    extension: Extension, num_iterations: int, rate: Callable[[int], float], highest: float
) -> str:
    """What the learning rate will do over the iterations that were added.

    Args:
        rate: of an iteration, from 0.
        highest: learning rate of the run.
    """
    rates = [rate(iteration) for iteration in range(extension.at, num_iterations)]
    most = max(rates)
    said = (
        f"extended from {extension.planned} to {num_iterations} iterations: the learning rate "
        f"was {rate(extension.at - 1):.2g}, goes on at {rates[0]:.2g}"
    )
    if most > rates[0] * 1.001:
        said += f", rises to {most:.2g} at iteration {extension.at + rates.index(most) + 1}"
    said += f" and is {rates[-1]:.2g} at the end"
    if extension.rate == "hold" and most < 0.1 * highest:
        said += (
            f". With so low a rate little changes: trainer_config.extension 'warm_up' raises it "
            f"again towards {highest:.2g}, which can lower scores for a while; a run with schedule "
            "'wsd' is best extended before its last fifth"
        )
    return said

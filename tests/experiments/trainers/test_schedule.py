"""The learning rate over a run."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dacapo_core.experiments.trainers.schedule import learning_rate_factor


def factors(iterations: int, warmup: int, schedule: str) -> list[float]:
    return [
        learning_rate_factor(i, iterations, warmup, schedule)  # type: ignore[arg-type]
        for i in range(iterations)
    ]


def test_cosine_rises_over_the_warm_up_and_then_falls_to_almost_zero() -> None:
    rates = factors(100, 20, "cosine")
    assert all(a < b for a, b in pairwise(rates[:21]))
    assert rates[20] == 1
    assert all(a > b for a, b in pairwise(rates[20:]))
    assert rates[60] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.01


def test_constant_stays_after_the_warm_up() -> None:
    assert factors(100, 20, "constant")[20:] == [1.0] * 80


def test_the_warm_up_takes_at_most_a_quarter_of_a_short_run() -> None:
    assert factors(8, 20, "cosine").index(1.0) == 2


def test_without_warm_up_the_first_iteration_has_the_highest_rate() -> None:
    assert factors(10, 0, "cosine")[0] == 1

"""The learning rate over a run."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dacapo_core.training.schedule import (
    Extending,
    Extension,
    extension_notice,
    learning_rate_factor,
)


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


def test_wsd_stays_until_the_last_fifth_and_then_falls_to_almost_zero() -> None:
    rates = factors(100, 10, "wsd")
    assert rates[10:81] == [1.0] * 71
    assert all(a > b for a, b in pairwise(rates[80:]))
    assert 0 < rates[-1] < 0.05
    # no decay before the warm-up is over, however short the run
    assert factors(1, 20, "wsd") == [1.0]


def extended(
    at: int, planned: int, iterations: int, schedule: str, how: Extending = "hold", warmup: int = 20
) -> list[float]:
    extensions = [Extension(at, planned, how)]
    return [
        learning_rate_factor(i, iterations, warmup, schedule, extensions)  # type: ignore[arg-type]
        for i in range(iterations)
    ]


@pytest.mark.parametrize("schedule", ["cosine", "constant", "wsd"])
@pytest.mark.parametrize("at", [1, 7, 24, 25, 50, 81, 99, 100])
def test_an_extended_run_never_jumps(schedule: str, at: int) -> None:
    before, rates = factors(100, 20, schedule), extended(at, 100, 1000, schedule)
    assert rates[:at] == before[:at]
    steps = [abs(b - a) for a, b in pairwise(rates)]
    # no larger step than the schedules make by themselves
    largest = max(abs(b - a) for a, b in pairwise([*before, *factors(1000, 20, schedule)]))
    assert max(steps[at - 1 :]) <= largest + 1e-12
    assert steps[at - 1] <= 1 / 21 + 1e-12
    if at > 20:
        assert all(a >= b for a, b in pairwise(rates[at - 1 :]))
        assert rates[at] == min(before[at - 1], factors(1000, 20, schedule)[at])


def test_a_stable_run_goes_on_as_if_it_had_been_longer_from_the_start() -> None:
    assert extended(50, 100, 1000, "wsd") == factors(1000, 20, "wsd")
    assert extended(100, 100, 1000, "constant") == factors(1000, 20, "constant")


def test_a_second_warm_up_rises_to_the_longer_schedule() -> None:
    rates, longer = extended(100, 100, 400, "cosine", "warm_up"), factors(400, 20, "cosine")
    assert all(a < b for a, b in pairwise(rates[99:121]))
    assert rates[120:] == longer[120:]


def test_two_extensions() -> None:
    extensions = [Extension(60, 100, "hold"), Extension(200, 200, "warm_up")]
    rates = [learning_rate_factor(i, 400, 20, "cosine", extensions) for i in range(400)]
    assert rates[:200] == extended(60, 100, 200, "cosine")
    assert rates[199] < rates[200] < rates[219] < rates[220] == factors(400, 20, "cosine")[220]


def test_the_notice_says_what_the_rate_will_do() -> None:
    def notice(how: Extending, at: int = 100) -> str:
        rates = extended(at, 100, 400, "cosine", how)
        return extension_notice(
            Extension(at, 100, how), 400, lambda iteration: 6e-3 * rates[iteration], 6e-3
        )

    held = notice("hold")
    assert "from 100 to 400 iterations: the learning rate was 2.3e-06, goes on at 2.3e-06" in held
    assert "trainer_config.extension 'warm_up'" in held
    raised = notice("warm_up")
    assert "rises to 0.005" in raised
    assert "little changes" not in raised + notice("hold", 50)

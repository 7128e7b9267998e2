"""What a person reads at the end of a run."""

from __future__ import annotations

from flows.run_summary import RunSummary


def summary(**changes: object) -> RunSummary:
    values: dict[str, object] = {
        "run": "r",
        "store": "/runs",
        "num_iterations": 100,
        "began_at": 0,
        "seconds": 93.0,
        "best": {"val/dice": (80, 0.9124), "val/voi": (60, None)},
        "kept": {80: ["best of val/dice"], 100: ["latest"]},
        "pruned": {20: ["not among the last 2"]},
    }
    return RunSummary(**(values | changes))  # type: ignore[arg-type]


def test_it_says_what_is_best_what_stays_what_went_and_why() -> None:
    said = str(summary())
    assert "Run r began and is complete at iteration 100, after 1 min 33 s." in said
    assert "Dice on val    0.912  at iteration 80" in said
    assert "VOI on val         –  at iteration 60" in said
    assert "     80  best by Dice on val" in said
    assert "     20  not among the last 2" in said
    assert said.endswith("Store: /runs")


def test_a_resumed_and_a_complete_run_say_so() -> None:
    assert "resumed at iteration 40" in str(summary(began_at=40))
    assert "nothing to do" in str(summary(began_at=100))

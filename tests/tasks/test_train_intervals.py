"""Of many validation intervals few are task runs, and their events are sent together."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.runtime.batched_events import EventBatch
from tasks.train_intervals import grouped_intervals


@pytest.mark.parametrize("count", [0, 1, 59, 60, 61, 100, 10_000])
def test_every_interval_is_in_one_group_and_there_are_few_of_them(count: int) -> None:
    stops = list(range(1, count + 1))
    found = grouped_intervals(stops)
    assert [stop for group in found for stop in group] == stops
    assert len(found) <= 60
    assert all(len(group) == 1 for group in found[:20])
    if count <= 60:
        assert len(found) == count


class Sent(list[tuple[str, str, dict[str, Any]]]):
    """What was sent, in order."""

    def __call__(self, kind: str, run: str, payload: dict[str, Any]) -> None:
        self.append((kind, run, payload))


def test_events_of_a_kind_are_one() -> None:
    sent = Sent()
    held = EventBatch(sent)
    for iteration in (10, 20, 30):
        held.add("stored", "r", {"iteration": iteration, "bytes": iteration, "store": "s"})
        held.add(
            "pruned",
            "r",
            {
                "kind": "prune",
                "iterations": [iteration - 5],
                "reasons": {str(iteration - 5): ["not among the last 1"]},
                "bytes": 100,
                "restorable_until": None,
                "store": "s",
            },
        )
    held.add("pruned", "r", {"kind": "reclaim", "iterations": [1], "reasons": {}, "bytes": 7})
    assert sent == []
    held.flush()
    assert sent == [
        ("stored", "r", {"iteration": 30, "iterations": [10, 20, 30], "bytes": 30, "store": "s"}),
        (
            "pruned",
            "r",
            {
                "kind": "prune",
                "iterations": [5, 15, 25],
                "reasons": {str(each): ["not among the last 1"] for each in (5, 15, 25)},
                "bytes": 300,
                "restorable_until": None,
                "store": "s",
            },
        ),
        ("pruned", "r", {"kind": "reclaim", "iterations": [1], "reasons": {}, "bytes": 7}),
    ]
    held.flush()
    assert len(sent) == 3


def test_only_the_last_best_is_said_of_each_criterion() -> None:
    sent = Sent()
    held = EventBatch(sent)
    held.add("best", "r", {"iteration": 10, "best_for": {"v/f1": 0.1, "v/voi": 2.0}})
    held.add("best", "r", {"iteration": 20, "best_for": {"v/f1": 0.2}})
    held.add("best", "r", {"iteration": 30, "best_for": {"v/f1": 0.3}})
    held.flush()
    assert sent == [
        ("best", "r", {"iteration": 10, "best_for": {"v/voi": 2.0}}),
        ("best", "r", {"iteration": 30, "best_for": {"v/f1": 0.3}}),
    ]


def test_what_is_held_is_sent_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.runtime.batched_events.EVERY_SECONDS", 0.0)
    sent = Sent()
    EventBatch(sent).add("stored", "r", {"iteration": 1})
    assert sent == [("stored", "r", {"iteration": 1})]

"""The event feed says what happened without opening the raw event."""

from __future__ import annotations

import pytest

from tasks.pages.event_words import LONGEST, event_line

WHY = {"8": ["not among the last 2"], "16": ["not among the last 2"]}


@pytest.mark.parametrize(
    ("kind", "payload", "line"),
    [
        ("stored", {"iteration": 8, "bytes": 4_030_000}, "iteration 8 stored, 4.0 MB"),
        ("stored", {"iteration": 8, "bytes": None}, "iteration 8 stored, –"),
        (
            "best",
            {"iteration": 8, "best_for": {"v/f1": 0.91, "v/voi": None, "v/mito__f1": 0.5}},
            "iteration 8 is the best: F1 0.91, VOI – on v, and 1 of single channels",
        ),
        (
            "best",
            {"iteration": 8, "best_for": {"v/mito__f1": 0.5}},
            "iteration 8 is the best: F1 of mito 0.5 on v",
        ),
        (
            "pruned",
            {"kind": "prune", "iterations": [8, 16], "bytes": 8_060_000, "reasons": WHY},
            "8, 16 pruned, 8.1 MB freed: not among the last 2",
        ),
        (
            "pruned",
            {
                "kind": "mark",
                "iterations": [8, 16],
                "bytes": 8_060_000,
                "reasons": {"8": ["not among the last 2"], "16": ["no multiple of 10"]},
                "restorable_until": "2026-12-05T09:30:00+00:00",
            },
            "8, 16 marked, 8.1 MB, can be restored until 2026-12-05 09:30 UTC. "
            "8: not among the last 2; 16: no multiple of 10",
        ),
        (
            "pruned",
            {"kind": "reclaim", "iterations": [8, 16], "bytes": 8_060_000, "reasons": WHY},
            "8, 16 reclaimed past their grace period, 8.1 MB freed: not among the last 2",
        ),
        (
            "pruned",
            {"kind": "remove", "iterations": [8], "bytes": 4, "reasons": {"8": ["by hand"]}},
            "8 removed by hand, 4 B freed: by hand",
        ),
        (
            "restored",
            {"iteration": 8, "bytes": 4_030_000, "marked_for": ["not among the last 2"]},
            "iteration 8 restored, 4.0 MB; it had been marked: not among the last 2",
        ),
        (
            "rehearsed",
            {"kind": "mark", "iterations": [8, 16], "bytes": 8_060_000, "reasons": WHY},
            "rehearsal, nothing was touched: 8, 16 would be marked, 8.1 MB: not among the last 2",
        ),
        (
            "rehearsed",
            {"kind": "prune", "iterations": [], "bytes": 0, "reasons": {}},
            "rehearsal, nothing was touched: nothing would be pruned",
        ),
    ],
)
def test_it_says_iteration_reason_and_bytes(
    kind: str, payload: dict[str, object], line: str
) -> None:
    assert event_line(kind, "mito", payload) == f"mito: {line}"


def test_it_stays_one_line_of_bounded_length() -> None:
    reasons = {str(i): [f"place {i} of many that are not among the best"] for i in range(999)}
    payload = {"kind": "prune", "iterations": [*range(0, 999, 2)], "bytes": 1, "reasons": reasons}
    line = event_line("pruned", "mito", payload)
    assert len(line) <= LONGEST
    assert "\n" not in line

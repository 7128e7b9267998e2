"""The page of a run in progress."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime

from tasks.pages.run_report import RunReport, report_page


def test_it_shows_progress_memory_and_the_last_slice() -> None:
    picture = b"\x89PNG slice"
    page = report_page(
        RunReport(
            "r",
            "/runs",
            iteration=25,
            num_iterations=100,
            samples_per_second=2.5,
            waiting_share=0.07,
            seconds_left=93,
            as_of=datetime(2026, 3, 1, 12, tzinfo=UTC),
            peak_memory=1_500_000_000,
            extended={20: 50},
            pictures={"held_out at iteration 20": picture},
        )
    )
    assert "iteration 25 of 100** (25% done) · 2.50 samples/s · 7% of the time waiting" in page
    assert "waiting for data · 1.5 GB of memory" in page
    assert "about 1 min 33 s left, to end at about 2026-03-01 12:01 UTC" in page
    assert "extended at iteration 20, once planned to 50" in page
    assert "## held_out at iteration 20" in page
    assert f"data:image/png;base64,{b64encode(picture).decode()}" in page


def test_charts_show_where_the_run_was_extended() -> None:
    scores = [(iteration, 0.5 + iteration / 1000) for iteration in (10, 20, 30)]
    for extended, shown in (({}, 0), ({20: 20}, 2), ({30: 30}, 0)):
        page = report_page(
            RunReport(
                "r",
                "/runs",
                iteration=30,
                num_iterations=40,
                losses=scores,
                scores={"held_out/f1_score": scores},
                best={"held_out/f1_score": (30, 0.53)},
                extended=extended,
            )
        )
        charts = re.findall(r"data:image/svg\+xml;base64,([^)]*)", page)
        assert sum(b">extended<" in b64decode(chart) for chart in charts) == shown

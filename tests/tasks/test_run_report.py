"""The page of a run in progress."""

from __future__ import annotations

from base64 import b64encode

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
            seconds_left=93,
            peak_memory=1_500_000_000,
            pictures={"held_out at iteration 20": picture},
        )
    )
    assert "iteration 25 of 100** (25% done) · 2.50 samples/s · 1.5 GB of memory" in page
    assert "about 1 min 33 s left" in page
    assert "## held_out at iteration 20" in page
    assert f"data:image/png;base64,{b64encode(picture).decode()}" in page

"""A page says as of when it holds, and links to what replaced it."""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.pages.page_age import as_of, replaced

PAGE = "# a run\n\n30% done"


def test_the_time_stands_below_the_title() -> None:
    moment = datetime(2026, 3, 1, 12, 25, 7, tzinfo=UTC)
    assert as_of(PAGE, moment) == "# a run\n\nAs of 2026-03-01 12:25:07 UTC.\n\n30% done"
    assert as_of("no title", moment) == "As of 2026-03-01 12:25:07 UTC.\n\nno title"


def test_what_replaced_a_page_is_said_once_and_is_the_last_that_did() -> None:
    first = replaced(PAGE, "/first")
    assert first == "# a run\n\n**Replaced** since by [a later page](/first).\n\n30% done"
    assert replaced(first, "/first") is None
    assert replaced(first, "/second") == first.replace("/first", "/second")

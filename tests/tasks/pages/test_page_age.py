"""A page says as of when it holds, and links to what replaced it."""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.pages.page_age import as_of, replaced

PAGE = "# a run\n\n30% done"


def test_the_time_stands_below_the_title_and_the_first_paragraph() -> None:
    moment = datetime(2026, 3, 1, 12, 25, 7, tzinfo=UTC)
    said = "As of 2026-03-01 12:25:07 UTC."
    assert as_of(PAGE, moment) == f"# a run\n\n30% done\n\n{said}"
    assert as_of(f"{PAGE}\n\n## More", moment) == f"# a run\n\n30% done\n\n{said}\n\n## More"
    assert as_of("no title", moment) == f"no title\n\n{said}"


def test_what_replaced_a_page_is_said_once_and_is_the_last_that_did() -> None:
    first = replaced(PAGE, "/first")
    assert first == "# a run\n\n**Replaced** since by [a later page](/first).\n\n30% done"
    assert replaced(first, "/first") is None
    assert replaced(first, "/second") == first.replace("/first", "/second")

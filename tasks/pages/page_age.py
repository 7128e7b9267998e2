"""As of when a page holds, and what replaced it: a page outlives the process that wrote it."""

from __future__ import annotations

import re
from datetime import datetime

_REPLACED = "**Replaced**"
_TITLE = re.compile(r"\A# .*\n\n")


def as_of(page: str, moment: datetime) -> str:
    """The page with the time at which it held below its title."""
    return _below_title(page, f"As of {moment:%Y-%m-%d %H:%M:%S} UTC.")


def replaced(page: str, by: str) -> str | None:
    """The page with a link to the one that shows what it shows as it is now, on top.

    None for one that leads there already.
    """
    notice = f"{_REPLACED} since by [a later page]({by})."
    if _REPLACED not in page:
        return _below_title(page, notice)
    found = re.sub(rf"^{re.escape(_REPLACED)}.*$", lambda _: notice, page, count=1, flags=re.M)
    return None if found == page else found


def _below_title(page: str, line: str) -> str:
    title = _TITLE.match(page)
    end = title.end() if title else 0
    return f"{page[:end]}{line}\n\n{page[end:]}"

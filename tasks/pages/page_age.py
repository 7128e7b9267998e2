"""As of when a page holds, and what replaced it: a page outlives the process that wrote it."""

from __future__ import annotations

import re
from datetime import datetime

_REPLACED = "**Replaced**"
_TITLE = re.compile(r"\A# .*\n\n")


def as_of(page: str, moment: datetime) -> str:
    """The page with the time at which it held below its title and its first paragraph."""
    blocks = page.split("\n\n")
    place = 2 if page.startswith("# ") else 1
    blocks.insert(place, f"As of {moment:%Y-%m-%d %H:%M:%S} UTC.")
    return "\n\n".join(blocks)


def replaced(page: str, by: str) -> str | None:
    """The page with a link to the one that shows what it shows as it is now, on top.

    None for one that leads there already.
    """
    notice = f"{_REPLACED} since by [a later page]({by})."
    if _REPLACED not in page:
        title = _TITLE.match(page)
        end = title.end() if title else 0
        return f"{page[:end]}{notice}\n\n{page[end:]}"
    found = re.sub(rf"^{re.escape(_REPLACED)}.*$", lambda _: notice, page, count=1, flags=re.M)
    return None if found == page else found

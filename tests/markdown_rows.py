"""The rows of the tables of a page."""

from __future__ import annotations

import re


def markdown_rows(page: str) -> list[dict[str, str]]:
    """Each row of each table, by the table's header."""
    found: list[dict[str, str]] = []
    header: list[str] = []
    for line in page.splitlines():
        if not line.startswith("| "):
            header = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not header:
            header = cells
        elif set(cells) != {"---"}:
            found.append(dict(zip(header, cells, strict=True)))
    return found

"""Tables for people, JSON for scripts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import typer


def show_json(value: Any) -> None:
    """One JSON document on standard output; what is not finite is null."""
    typer.echo(json.dumps(_strict(value), indent=1, allow_nan=False))


def show_sentence(as_json: bool, value: dict[str, object], sentence: str) -> None:
    """One sentence, or the JSON that says the same."""
    if as_json:
        show_json(value)
    else:
        typer.echo(sentence)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; columns whose name ends in ``>`` are set to the right.

    Where the output is no terminal, nothing is cut to its width.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=1000)
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        name = column.removesuffix(">")
        table.add_column(name, justify="right" if column.endswith(">") else "left")
    for row in rows:
        table.add_row(*(_escaped(cell) for cell in row))
    console.print(table)


def readable_size(size: int | None) -> str:
    """``1234567`` as ``1.2 MB``; unknown as ``–``."""
    if size is None:
        return "–"
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def readable_age(seconds: float) -> str:
    """``93`` as ``1 min``, ``7300`` as ``2 h``."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (unit != "days" and seconds >= length):
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _escaped(cell: str) -> str:
    from rich.markup import escape

    return escape(cell)


def _strict(value: Any) -> Any:
    from dacapo_core.store.records.strict_json import plain, without_nan

    if isinstance(value, timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _strict(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if hasattr(value, "model_dump"):
        return _strict(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): _strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_strict(each) for each in value]
    return plain(without_nan(value), "a value")

"""A progress bar for a person who watches; silence for a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def download_progress(url: str, size: int | None, done: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the count of bytes of each piece that arrived."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("/".join(url.rsplit("/", 2)[-2:]), total=size, completed=done)
        yield lambda count: progress.advance(task, count)

"""What a person at the terminal sees of a run while it goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prefect.logging import get_run_logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from tasks.runtime.flow_run_log import log_is_off_the_terminal

LEAST_BAR, TIME_LEFT, GAPS = 6, 7, 4
MOST_OF_THE_NAME = 1 / 3


class RunProgress:
    """A bar over all iterations of a run, where there is a terminal, and notes."""

    def __init__(self, name: str, num_iterations: int | None) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._counts = 2 * len(str(num_iterations or "")) + 1
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=self._counts)),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            # a build log is no terminal, whatever FORCE_COLOR makes of it
            disable=not self._console.is_terminal or bool(os.environ.get("CI")),
        )
        self._name = name
        self._bar = self._progress.add_task(name, total=num_iterations, numbers="")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar until the block ends."""
        with self._progress:
            yield

    def phase(self, name: str) -> None:
        """Say what goes on now: training, validating, …"""
        most = int(self._console.width * MOST_OF_THE_NAME)
        run = self._name if len(self._name) <= most else f"{self._name[: most - 1]}…"
        self._progress.update(self._bar, description=f"{run} · {name}")

    def at(self, iteration: int, *numbers: str) -> None:
        """Move the bar.

        Args:
            numbers: the most needed first; those that the terminal has no room for are left out.
        """
        self._progress.update(self._bar, completed=iteration, numbers=self._fitting(numbers))

    def _fitting(self, numbers: Sequence[str]) -> str:
        description = self._progress.tasks[self._bar].description
        taken = len(description) + self._counts + LEAST_BAR + TIME_LEFT + GAPS
        shown = ""
        for number in numbers:
            longer = f"{shown} · {number}" if shown else number
            if taken + len(longer) > self._console.width:
                break
            shown = longer
        return shown

    def note(self, text: str) -> None:
        """Log a line, and print it where the log is kept from the terminal."""
        get_run_logger().info(text)
        self.show(text)

    def show(self, text: str) -> None:
        """Print a line that is in the log already, where the log is kept from the terminal."""
        if log_is_off_the_terminal():
            self._console.print(f"{time.strftime('%H:%M:%S')} {text}")

"""What a person at the terminal sees of a run while it goes on."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Self

from prefect.logging import get_run_logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tasks.flow_run_log import log_is_off_the_terminal


class RunProgress:
    """A bar over all iterations of a run where there is a terminal; notes everywhere."""

    def __init__(self, name: str, num_iterations: int | None) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            # a build log is no terminal, whatever FORCE_COLOR makes of it
            disable=not self._console.is_terminal or bool(os.environ.get("CI")),
        )
        self._name = name
        self._bar = self._progress.add_task(name, total=num_iterations, numbers="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def phase(self, name: str) -> None:
        """Say what goes on now: training, validating, …"""
        self._progress.update(self._bar, description=f"{self._name} · {name}")

    def at(self, iteration: int, numbers: str = "") -> None:
        """Move the bar."""
        self._progress.update(self._bar, completed=iteration, numbers=numbers)

    def note(self, text: str) -> None:
        """One line that stays: in the flow run's log, and at the terminal where that is quiet."""
        get_run_logger().info(text)
        self.show(text)

    def show(self, text: str) -> None:
        """One line at the terminal, of what the flow run's log has from elsewhere."""
        if log_is_off_the_terminal():
            self._console.print(f"{time.strftime('%H:%M:%S')} {text}")

"""What dacapo_core logs while a flow runs, in that flow run's log."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

LIBRARY = "dacapo_core"

RunLog = logging.Logger | logging.LoggerAdapter[logging.Logger]


class LibraryLog(logging.Handler):
    """Writes to the log of this thread's task run, or of the last one where a thread has none.

    Warnings go to the terminal too where Prefect's log does not.
    """

    _last: RunLog | None = None

    def enter_task(self) -> None:
        """Note the task run of this thread; without one, as in tests, keep the last."""
        with suppress(MissingContextError):
            self._last = get_run_logger()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        run_log: RunLog | None
        try:
            run_log = get_run_logger()
        except MissingContextError:
            run_log = self._last
        if run_log is not None:
            run_log.log(record.levelno, text, exc_info=record.exc_info)
        if record.levelno >= logging.WARNING and log_is_off_the_terminal():
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr)


def log_is_off_the_terminal() -> bool:
    """Whether Prefect's log lines are kept from the terminal."""
    return all(handler.level > logging.INFO for handler in logging.getLogger().handlers)


_handler = LibraryLog()


def enter_task() -> None:
    """From here on, write what dacapo_core logs to the log of this thread's task run."""
    library = logging.getLogger(LIBRARY)
    if _handler not in library.handlers:
        library.addHandler(_handler)
        library.setLevel(logging.INFO)
    _handler.enter_task()

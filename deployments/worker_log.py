"""A worker's log: Prefect's lines, without those that are not true here."""

from __future__ import annotations

import logging


class _NoFalseAlarm(logging.Filter):
    """Corrects what Prefect says after an outage: that runs cannot be cancelled any more."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = str(record.msg)
        # the line says what went wrong with the connection; a traceback helps nobody
        record.exc_info = record.exc_text = None
        if text.startswith("Cancellation observer failed"):
            return False
        if text.startswith("Cancellation polling task failed"):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.args = ()
            record.msg = (
                "the server was away too long for this worker to hear of cancellations of the run "
                "that it has; the run looks itself every few seconds, and stops if it is cancelled"
            )
        return True


def correct_worker_log() -> None:
    """Correct the log of this process; to be called after Prefect has set up its logging."""
    for name in ("prefect.FlowRunCancellingObserver", "prefect.runner.executor_context"):
        logging.getLogger(name).addFilter(_NoFalseAlarm())

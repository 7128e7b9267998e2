"""What a worker's log says: Prefect's lines, but for those that are not so here."""

from __future__ import annotations

import logging


class _NoFalseAlarm(logging.Filter):
    """After an outage Prefect says that cancellation will fail; a training run looks itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = str(record.msg)
        # what went wrong with its connection is said, and leads no one anywhere in full
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


def say_what_happens() -> None:
    """Put it right for this process; to be called when Prefect's logging is set up."""
    for name in ("prefect.FlowRunCancellingObserver", "prefect.runner.executor_context"):
        logging.getLogger(name).addFilter(_NoFalseAlarm())

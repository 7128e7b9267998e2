"""One thread that makes accepted checkpoints durable while training goes on."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from concurrent import futures

logger = logging.getLogger(__name__)


class BackgroundWriter:
    """Runs one job at a time; its error is raised by the next call, once.

    At the interpreter's exit, and when the writer is forgotten, the job in hand is finished; an
    error that nobody asked for is logged.
    """

    def __init__(self) -> None:
        self._pending: list[futures.Future[None]] = []
        self._executor: futures.ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self._taking = threading.Lock()
        # runs at exit too, after the threads have been joined
        self._finalizer = weakref.finalize(self, _report, self._pending)

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job in the background, once the one in hand is done.

        Raises:
            Exception: what went wrong in the job before; this one is not accepted then.
        """
        self.wait()
        if self._executor is None:
            self._executor = futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint-writer")
        self._pending.append(self._executor.submit(job))

    def wait(self) -> None:
        """Wait for the job in hand.

        Raises:
            Exception: what went wrong in it.
        """
        if self._process != os.getpid():
            # a forked child: the job, and the thread, are its parent's
            self._pending.clear()
            self._executor = None
            self._process = os.getpid()
        while True:
            with self._taking:
                if not self._pending:
                    return
                future = self._pending[0]
            futures.wait([future])
            with self._taking:
                # of several threads that wait, one gets the error
                is_mine = future in self._pending
                if is_mine:
                    self._pending.remove(future)
            if is_mine:
                future.result()

    def close(self) -> None:
        """Wait for the job in hand and end the thread.

        Raises:
            Exception: what went wrong in the job.
        """
        try:
            self.wait()
        finally:
            if self._executor is not None:
                self._executor.shutdown()
                self._executor = None


def _report(pending: list[futures.Future[None]]) -> None:
    for future in pending:
        error = future.exception()
        if error is not None:
            logger.error("a checkpoint was lost: %s", error, exc_info=error)

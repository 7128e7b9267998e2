"""One thread that makes accepted checkpoints durable while training goes on."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from concurrent import futures
from concurrent.futures.thread import ThreadPoolExecutor

logger = logging.getLogger(__name__)


class BackgroundWriter:
    """Runs one job at a time; its error is raised once, by the next call.

    The current job is finished at the interpreter's exit, and when the writer is garbage-collected;
    an error that was not raised by then is logged. A forked child begins without a job.
    """

    def __init__(self) -> None:
        self._pending: list[futures.Future[None]] = []
        self._executor: ThreadPoolExecutor | None = None
        self._taking = threading.Lock()
        # runs at exit too, after the threads have been joined
        self._finalizer = weakref.finalize(self, _report, self._pending)
        _writers.add(self)

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job in the background, once the current one is done.

        It is run at once where no thread can be started, as in a function that runs at exit.

        Raises:
            Exception: what went wrong in the job before; this one is not accepted then.
        """
        self.wait()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-writer")
        try:
            future = self._executor.submit(job)
        except RuntimeError:
            # the executor may have queued the job: drop it, so that the job is not run twice
            self._executor = None
            job()
        else:
            self._pending.append(future)

    def wait(self) -> None:
        """Wait for the current job.

        Raises:
            Exception: what went wrong in it.
        """
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
        """Wait for the current job and end the thread.

        Raises:
            Exception: what went wrong in the job.
        """
        try:
            self.wait()
        finally:
            if self._executor is not None:
                self._executor.shutdown()
                self._executor = None

    def finish(self) -> None:
        """Wait for the current job; leaves its error to the next call."""
        futures.wait(list(self._pending))

    def forget(self) -> None:
        """Drop the current job and the thread, which belong to the parent process."""
        self._pending.clear()
        self._executor = None
        self._taking = threading.Lock()


_writers: weakref.WeakSet[BackgroundWriter] = weakref.WeakSet()


def _finish_all() -> None:
    for writer in list(_writers):
        writer.finish()


def _forget_all() -> None:
    for writer in list(_writers):
        writer.forget()


def _report(pending: list[futures.Future[None]]) -> None:
    for future in pending:
        error = future.exception()
        if error is not None:
            logger.error("a checkpoint was lost: %s", error, exc_info=error)


# the last registered runs first: before the executors close, through which an object store's
# client looks up names and sets itself up. atexit's own functions run too late for that
threading._register_atexit(_finish_all)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_forget_all)

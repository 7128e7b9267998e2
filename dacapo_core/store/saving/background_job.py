"""A job in a thread of its own while its maker goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class BackgroundJob(Generic[Result]):
    """Runs a job in a thread from its making on; at once where no thread can be started.

    No thread can be at the interpreter's exit, when accepted checkpoints are still being written.
    """

    def __init__(self, job: Callable[[], Result]) -> None:
        self._job = job
        self._future: Future[Result] = Future()
        try:
            threading.Thread(target=self._do, name="background-job").start()
        except RuntimeError:
            self._do()

    def result(self) -> Result:
        """Wait for what the job returned, or raise what it raised."""
        return self._future.result()

    def _do(self) -> None:
        try:
            self._future.set_result(self._job())
        except BaseException as error:
            self._future.set_exception(error)

"""Keep a training process going when its worker, which read its output, was killed.

The pipe that a worker gives its child breaks with the worker, and rich, through which Prefect
writes its log lines, ends a process whose pipe is broken: ``SystemExit`` in the middle of training.
Here ``/dev/null`` takes the place of a broken pipe, by a thread that waits for that or at the first
line that fails. The flow run's log on the server has every line.
"""

from __future__ import annotations

import logging
import os
import select
import stat
import threading
from functools import cache

from prefect.logging import get_run_logger
from rich.console import Console

STDOUT, STDERR = 1, 2

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


@cache
def survive_broken_pipe() -> None:
    """Let this process outlive the reader of its output; to be called inside a flow run."""
    if not any(_is_pipe(number) for number in (STDOUT, STDERR)):
        return
    Console.on_broken_pipe = _go_on  # type: ignore[method-assign, assignment]
    threading.Thread(
        target=_watch, args=(get_run_logger(),), name="broken-pipe", daemon=True
    ).start()


def _go_on(console: Console) -> None:
    """In the place of rich's ``Console.on_broken_pipe``: the console writes on, to nobody."""
    _silence_broken()


def _watch(logger: Log) -> None:
    # copies, which stay pipes where a failed line has replaced the outputs already
    pipes = {os.dup(number) for number in (STDOUT, STDERR) if _is_pipe(number)}
    said = False
    while pipes:
        broken = _broken(pipes, None)
        _silence_broken()
        for pipe in broken:
            os.close(pipe)
        pipes -= broken
        if not said:
            logger.warning(
                "nobody reads the output of this process any more, as after the death of its "
                "worker; it goes on"
            )
            said = True


def _silence_broken() -> None:
    """Put ``/dev/null`` in the place of the outputs whose pipe has no reader."""
    for number in _broken({each for each in (STDOUT, STDERR) if _is_pipe(each)}, 0):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def _broken(pipes: set[int], milliseconds: int | None) -> set[int]:
    """The pipes that have no reader; with None, wait until there is such a pipe."""
    ends = select.poll()
    for pipe in pipes:
        # 0: only that the reader is gone, which is always reported
        ends.register(pipe, 0)
    return {pipe for pipe, _ in ends.poll(milliseconds)}


def _is_pipe(number: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:
        return False

"""Signals that ask this process to stop: noted, and followed where no training is lost by it.

A worker, a service manager and a scheduler may each send several within a second. All of them
count as one; only a second Ctrl-C, from a person who will not wait, ends the process at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# what schedulers send before they kill, and what a closed terminal does
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def catchable() -> list[signal.Signals]:
    """The stop signals to handle: without SIGHUP under nohup, which is to outlive its terminal."""
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [each for each in STOP_SIGNALS if each != signal.SIGHUP or not nohup]


class StopSignals:
    """The signals that asked this process to stop.

    Attributes:
        asked: the first signal; None while there is none.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._held = False
        self._in_task = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Inside the block, signals are noted, and raised only in tasks and by `end_if_asked`.

        Outside the main thread, which alone can handle signals, this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in catchable()}
        for number in before:
            signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.asked = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block, nothing is raised, so that what was trained is stored first."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before

    @contextmanager
    def in_task(self) -> Iterator[None]:
        """Inside the block, a signal is raised as it comes."""
        self._in_task = True
        try:
            yield
        finally:
            self._in_task = False

    def end_if_asked(self) -> None:
        """End the flow here if a signal asked for that and nothing is held.

        Raises:
            TerminationSignal: one did.
            KeyboardInterrupt: that was Ctrl-C.
        """
        if self.asked is not None and not self._held:
            raise _error(self.asked)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            if number == self.asked == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.asked = number
        if self._in_task and not self._held:
            raise _error(number)


def _error(number: int) -> BaseException:
    # workers import this module before prefect's settings are there
    from prefect.exceptions import TerminationSignal

    return KeyboardInterrupt() if number == signal.SIGINT else TerminationSignal(signal.SIGTERM)


stop_signals = StopSignals()

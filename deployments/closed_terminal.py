"""Output that nobody reads any more costs nothing: the terminal was closed, or its reader ended."""

from __future__ import annotations

import errno
import io
import os
import sys

GONE = (errno.EIO, errno.EPIPE, errno.EBADF)


class _Lasting(io.RawIOBase):
    """A file descriptor for writing, or nowhere once nobody is there."""

    def __init__(self, number: int) -> None:
        self._number = number

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: object) -> int:
        given = memoryview(data).cast("B")  # type: ignore[arg-type]
        try:
            return os.write(self._number, given)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return len(given)


def survive_closed_terminal() -> None:
    """Let this process print on when its terminal is gone, where Python would raise."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        raw = io.BufferedWriter(_Lasting(number))
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", line_buffering=True)
        setattr(sys, name, stream)

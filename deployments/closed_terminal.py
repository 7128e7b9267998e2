"""Print on where the terminal was closed or the reader of a pipe has ended."""

from __future__ import annotations

import errno
import io
import os
import sys

GONE = (errno.EIO, errno.EPIPE, errno.EBADF)


class _Descriptor(io.RawIOBase):
    """Writes to a file descriptor, or nowhere once its other end is gone."""

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
        raw = io.BufferedWriter(_Descriptor(number))
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", line_buffering=True)
        setattr(sys, name, stream)

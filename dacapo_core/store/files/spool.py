"""A temporary file without a name: it is gone with its process, however that ends."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import BinaryIO

_PIECE = 64 << 20


class Spool:
    """A context manager: bytes on their way between an object store and this process."""

    def __enter__(self) -> Spool:
        self.file: BinaryIO = tempfile.TemporaryFile("w+b", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    @property
    def path(self) -> str:
        """A path under which this process, and only while the spool is open, finds it."""
        return f"/dev/fd/{self.file.fileno()}"

    def file_bytes(self) -> bytes:
        return os.pread(self.file.fileno(), os.fstat(self.file.fileno()).st_size, 0)


class SparseCopy:
    """A spool as long as an object, with those of its bytes that were asked for.

    Attributes:
        path: as a spool's.
    """

    def __init__(self, spool: Spool, size: int, read: Callable[[int, int], bytes]) -> None:
        spool.file.truncate(size)
        self.path = spool.path
        self._file = spool.file
        self._read = read

    def fetch(self, start: int, stop: int) -> None:
        """Bring the bytes of a span here."""
        for at in range(start, stop, _PIECE):
            os.pwrite(self._file.fileno(), self._read(at, min(at + _PIECE, stop)), at)

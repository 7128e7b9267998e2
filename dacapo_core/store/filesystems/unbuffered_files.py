"""Writing to files without a buffer: all of it, in few calls, early on its way to the disk."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections import deque
from collections.abc import Iterable
from typing import Any, BinaryIO

_PIECES_A_CALL = 512
_BYTES_A_CALL = 4 << 20


class EagerFile(io.FileIO):
    """An unbuffered file whose bytes go to the disk while more are written.

    Waiting for the disk at the end alone costs half as much again.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "r+")
        self._written = self._on_their_way = 0

    def write(self, data: Any) -> int:
        written = super().write(data)
        self.send(written)
        return written

    def send(self, written: int) -> None:
        """Say how many bytes more have been written, one behind the other."""
        self._written += written
        waiting = self._written - self._on_their_way
        if waiting >= _BYTES_A_CALL and hasattr(os, "posix_fadvise"):
            # Linux begins to write what is said to be done with, and drops nothing unwritten;
            # a file system that cannot takes longer in the end, no more
            with contextlib.suppress(OSError):
                os.posix_fadvise(self.fileno(), self._on_their_way, waiting, os.POSIX_FADV_DONTNEED)
            self._on_their_way = self._written


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write to an unbuffered file, which may take less than all at once."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def write_pieces(file: BinaryIO, pieces: Iterable[bytes | memoryview]) -> None:
    """Write pieces one after the other to an unbuffered file, hundreds in one call."""
    rest = deque(memoryview(piece) for piece in pieces if len(piece))
    while rest:
        written = os.writev(file.fileno(), _next_pieces(rest))
        if isinstance(file, EagerFile):
            file.send(written)
        while rest and written >= len(rest[0]):
            written -= len(rest.popleft())
        if written:
            rest[0] = rest[0][written:]


def _next_pieces(rest: Iterable[memoryview]) -> list[memoryview]:
    """What one call writes of them."""
    pieces, room = [], _BYTES_A_CALL
    for piece in itertools.islice(rest, _PIECES_A_CALL):
        pieces.append(piece[:room])
        room -= len(pieces[-1])
        if not room:
            break
    return pieces

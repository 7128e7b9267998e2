"""The nonce of a checkpoint, from the end of its file alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from dacapo_core.store.checkpoint_format.checkpoint_index import Pointer, Table
from dacapo_core.store.filesystems.filesystem import StoreFilesystem

# a string of 32 characters in pickle's protocol 2; the last is the nonce: the index comes last
_TEXT_OF_32 = re.compile(rb"X\x20\x00\x00\x00([0-9a-f]{32})")


def read_nonce(filesystem: StoreFilesystem, path: str) -> str | None:
    """The nonce of a checkpoint; None of one that DaCapo wrote, or whose end is damaged.

    Raises:
        FileNotFoundError: no such file.
    """
    if filesystem.is_local:
        with filesystem.local_copy(path) as local:
            return _nonce(local, lambda start, stop: None)
    with filesystem.sparse_copy(path) as copy:
        return _nonce(copy.path, copy.fetch)


def _nonce(path: str, fetch: Callable[[int, int], None]) -> str | None:
    descriptor = os.open(path, os.O_RDONLY)

    def read(start: int, stop: int) -> bytes:
        fetch(start, stop)
        return os.pread(descriptor, stop - start, start)

    try:
        size = os.fstat(descriptor).st_size
        at = Pointer.read(read, size)
        if at is None:
            return None
        table = Table.from_bytes(read(at.table, at.table_stop))
        if table is None or table.pickle.offset > at.layout:
            return None
        found = _TEXT_OF_32.findall(read(table.pickle.offset, at.layout))
        return found[-1].decode() if found else None
    finally:
        os.close(descriptor)

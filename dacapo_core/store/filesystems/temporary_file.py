"""A temporary file without a name: it is gone with its process, however that ends."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import BinaryIO

from dacapo_core.store.filesystems.translated_errors import writing_temporary_file
from dacapo_core.store.filesystems.unbuffered_files import write_all

_PIECE = 64 << 20


class TemporaryFile:
    """A context manager: bytes on their way between an object store and this process.

    Raises (on entering):
        StoreNotWritableError: the folder of temporary files cannot be written.
    """

    def __enter__(self) -> TemporaryFile:
        with writing_temporary_file():
            self.file: BinaryIO = tempfile.TemporaryFile("w+b", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    @property
    def path(self) -> str:
        """A path under which this process, and only while the file is open, finds it."""
        return f"/dev/fd/{self.file.fileno()}"

    def read_all(self) -> bytes:
        with open(self.path, "rb") as content:
            return content.read()


class SparseCopy:
    """A temporary file as long as an object, with those of its bytes that were asked for.

    Attributes:
        path: as the temporary file's.
    """

    def __init__(
        self,
        file: TemporaryFile,
        size: int,
        read: Callable[[int, int], bytes],
        version: Callable[[], str],
    ) -> None:
        with writing_temporary_file():
            file.file.truncate(size)
        self._version = version
        self._first_version = version()
        self.path = file.path
        self._file = file.file
        self._read = read

    def is_of_one_version(self) -> bool:
        """Whether the object is still the one that the first bytes came from."""
        return self._version() == self._first_version

    def fetch(self, start: int, stop: int) -> None:
        """Bring the bytes of a span here.

        Raises:
            StoreFullError: no space for them in the folder of temporary files.
        """
        for at in range(start, stop, _PIECE):
            end = min(at + _PIECE, stop)
            content = self._read(at, end)
            with writing_temporary_file():
                self._file.seek(at)
                write_all(self._file, content)

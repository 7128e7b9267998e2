"""A temporary file without a name: it is gone with its process, however that ends."""

from __future__ import annotations

import os
import tempfile
from typing import BinaryIO


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

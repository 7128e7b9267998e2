"""The memory of storages: of this host, or mapped from a file."""

from __future__ import annotations

import ctypes
import errno
import os

import torch

from dacapo_core.store.checkpoint_format.checkpoint_id import CheckpointId

_OF_THE_MACHINE = {
    errno.ENOENT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EACCES,
    errno.EIO,
    errno.ESTALE,
}


def bytes_of(storage: torch.UntypedStorage) -> memoryview:
    """The bytes of a storage, without a copy; valid as long as the storage is."""
    if storage.nbytes() and not storage.data_ptr():
        raise ValueError(f"a storage of {storage.nbytes()} bytes is not in memory")
    return memoryview((ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())).cast("B")


def mapped_storage(path: str, place: CheckpointId) -> torch.UntypedStorage:
    """A file as memory private to this process.

    Raises:
        MemoryError: there is no room for it.
    """
    try:
        storage: torch.UntypedStorage = torch.UntypedStorage.from_file(
            path, False, os.path.getsize(path)
        )  # type: ignore[assignment]
    except RuntimeError as error:
        raise no_room(place, error) from error
    return storage


def is_the_machines(error: BaseException) -> bool:
    """Whether an error says nothing about the file that was being read."""
    if isinstance(error, OSError):
        return error.errno in _OF_THE_MACHINE
    return isinstance(error, MemoryError)


def is_no_room(error: BaseException) -> bool:
    """Whether torch says that memory could not be had."""
    reason = str(error)
    return os.strerror(errno.ENOMEM) in reason or "unable to mmap" in reason


def no_room(place: CheckpointId, error: BaseException) -> MemoryError:
    """The error that says so of a checkpoint."""
    return MemoryError(f"{place} cannot be mapped into memory: {str(error).splitlines()[0]}")

"""The memory of tensors' storages, and whether an error is this machine's or the file's."""

from __future__ import annotations

import ctypes
import errno
import os

import torch

from dacapo_core.store.checkpoint_format.checkpoint_id import CheckpointId

_MACHINE_ERRORS = {
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


def mapped_storage(path: str, checkpoint: CheckpointId) -> torch.UntypedStorage:
    """A file as memory private to this process.

    Raises:
        MemoryError: there is no room for it.
    """
    try:
        storage: torch.UntypedStorage = torch.UntypedStorage.from_file(
            path, False, os.path.getsize(path)
        )  # type: ignore[assignment]
    except RuntimeError as error:
        raise out_of_memory(checkpoint, error) from error
    return storage


def is_machine_error(error: BaseException) -> bool:
    """Whether an error is this machine's, and says nothing about the file that was read."""
    if isinstance(error, OSError):
        return error.errno in _MACHINE_ERRORS
    return isinstance(error, MemoryError)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch is that it got no memory."""
    reason = str(error)
    return os.strerror(errno.ENOMEM) in reason or "unable to mmap" in reason


def out_of_memory(checkpoint: CheckpointId, error: BaseException) -> MemoryError:
    """The error of a checkpoint that there is no memory for."""
    return MemoryError(f"{checkpoint} cannot be mapped into memory: {str(error).splitlines()[0]}")

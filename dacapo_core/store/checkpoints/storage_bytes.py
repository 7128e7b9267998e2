"""The memory of a storage, without a copy."""

from __future__ import annotations

import ctypes

import torch


def bytes_of(storage: torch.UntypedStorage) -> memoryview:
    """The bytes of a storage of this host; valid as long as the storage is."""
    return memoryview((ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())).cast("B")

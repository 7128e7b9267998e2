"""The pickle inside torch's zip file, as torch.save writes it, several times faster.

torch's pickler asks Python about every value of a state. A state of ours holds plain containers,
scalars and plain CPU tensors only, so the C pickler needs help with the tensors alone.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

_PROTOCOL = 2
# dtypes that torch's format names by a storage class; it names newer ones by the dtype
_STORAGE_CLASSES = {
    torch.float32: torch.FloatStorage,
    torch.float64: torch.DoubleStorage,
    torch.float16: torch.HalfStorage,
    torch.bfloat16: torch.BFloat16Storage,
    torch.int64: torch.LongStorage,
    torch.int32: torch.IntStorage,
    torch.int16: torch.ShortStorage,
    torch.int8: torch.CharStorage,
    torch.uint8: torch.ByteStorage,
    torch.bool: torch.BoolStorage,
    torch.complex64: torch.ComplexFloatStorage,
    torch.complex128: torch.ComplexDoubleStorage,
}


def pickled(state: Mapping[str, Any], keys: dict[int, int]) -> tuple[bytes, int]:
    """The content of ``data.pkl`` for a state, and the count of its empty storages.

    Args:
        keys: address of a storage → its number in the file. The empty ones follow.
    """
    content = io.BytesIO()
    pickler = _Pickler(content, keys)
    pickler.dump(state)
    return content.getvalue(), pickler.empty


@dataclass(frozen=True)
class _Storage:
    """A storage, which torch's unpickler finds by its persistent id."""

    persistent_id: tuple[Any, ...]


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, keys: dict[int, int]) -> None:
        super().__init__(file, _PROTOCOL)
        self._keys = keys
        self.empty = 0
        self.dispatch_table = {torch.Tensor: self._reduced}

    def persistent_id(self, value: Any) -> Any:
        return value.persistent_id if type(value) is _Storage else None

    def _reduced(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        storage = tensor.untyped_storage()
        kind = _STORAGE_CLASSES.get(tensor.dtype)
        size = storage.nbytes() if kind is None else storage.nbytes() // tensor.itemsize
        key = self._keys.get(storage.data_ptr())
        if key is None:
            key = len(self._keys) + self.empty
            self.empty += 1
        arguments: tuple[Any, ...] = (
            _Storage(("storage", kind or torch.UntypedStorage, str(key), "cpu", size)),
            tensor.storage_offset(),
            tuple(tensor.shape),
            tensor.stride(),
            False,
            OrderedDict(),
        )
        if kind is None:
            return torch._utils._rebuild_tensor_v3, (*arguments, tensor.dtype)
        return torch._utils._rebuild_tensor_v2, arguments

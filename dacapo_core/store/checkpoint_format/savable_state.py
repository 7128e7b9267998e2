"""States that can be saved: plain containers of scalars and tensors, checked, rebuilt and walked.

Savable is only what ``torch.load(weights_only=True)`` gives back.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from dacapo_core.store.errors import UnsavableStateError

# exact types: a subclass (np.float64 of float, an Enum of str) would not load back
_SCALARS = {type(None), bool, int, float, complex, str, bytes, bytearray}
_SCALARS |= {torch.Size, torch.dtype, torch.device}
_MAPPINGS = {dict, OrderedDict, Counter}
_SEQUENCES = {list, tuple}
_TENSORS = {torch.Tensor, torch.nn.Parameter}
# a view of bytes under one of these does not say is_quantized
_QUANTISED = {torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4}
# beyond these torch.load(weights_only=True) gives up
_LONGEST_INT = 2030
_DEEPEST = 100


class _Refused(Exception):
    """A value that cannot be saved; its path in the state is put together on the way out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[Any] = []


def map_tensors(state: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The state rebuilt with each tensor replaced; containers are new, scalars shared.

    The ``_metadata`` that ``Module.state_dict()`` hangs on its dict is kept.

    Raises:
        UnsavableStateError: a value that would not load back, named by its key.
    """
    try:
        return _mapped(state, change)
    except _Refused as refused:
        path = "".join(f"[{key!r}]" for key in refused.path)
        raise UnsavableStateError(f"state{path} {refused}") from None


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor], depth: int = 0) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return _scalar(value)
    if kind in _TENSORS:
        return change(_checked(value))
    if depth > _DEEPEST:
        raise _Refused(f"is nested more than {_DEEPEST} deep")
    if kind in _MAPPINGS:
        rebuilt = kind()
        key = None
        try:
            for key, item in value.items():
                if type(key) is not str:
                    _check_key(key)
                rebuilt[key] = _mapped(item, change, depth + 1)
            if kind is OrderedDict and getattr(value, "_metadata", None) is not None:
                key = "_metadata"
                rebuilt._metadata = _mapped(value._metadata, _refuse_tensor, depth + 1)
        except _Refused as refused:
            refused.path.insert(0, key)
            raise
        return rebuilt
    if kind in _SEQUENCES:
        items = []
        try:
            for item in value:
                items.append(_mapped(item, change, depth + 1))
        except _Refused as refused:
            refused.path.insert(0, len(items))
            raise
        return items if kind is list else tuple(items)
    if kind is set:
        for item in value:
            _check_key(item)
        return set(value)
    raise _Refused(_refusal(kind))


def _scalar(value: Any) -> Any:
    kind = type(value)
    if kind is int and value.bit_length() > _LONGEST_INT:
        raise _Refused(f"is a number of {value.bit_length()} bits, which cannot be loaded back")
    if kind is bytes and not value:
        raise _Refused("is empty bytes, which cannot be loaded back; store None or bytearray()")
    return bytearray(value) if kind is bytearray else value


def _refuse_tensor(tensor: torch.Tensor) -> torch.Tensor:
    raise _Refused("is a tensor where only versions and names belong")


def _checked(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_meta:
        raise _Refused("is on the meta device: it has no values; materialise the model first")
    if tensor.layout is not torch.strided or tensor.dtype in _QUANTISED or tensor.is_nested:
        raise _Refused("is a sparse, quantised or nested tensor; make it dense first")
    return tensor


def _check_key(key: Any) -> None:
    kind = type(key)
    if kind is tuple:
        for item in key:
            _check_key(item)
    elif kind in _SCALARS:
        _scalar(key)
    else:
        raise _Refused(f"has a key that {_refusal(kind)}")


def _refusal(kind: type) -> str:
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return (
        f"is a {module}{kind.__qualname__}, which cannot be loaded back without running "
        "pickled code; store plain numbers, strings, lists, dicts and tensors "
        "(float(x), str(path), torch.from_numpy(array))"
    )


def tensors_of(state: Any) -> Iterator[tuple[tuple[Any, ...], torch.Tensor]]:
    """(path, tensor) of all tensors of a state, in the order of its containers."""
    pending: list[tuple[tuple[Any, ...], Any]] = [((), state)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, torch.Tensor):
            yield path, value
        elif isinstance(value, Mapping):
            pending.extend(((*path, key), item) for key, item in reversed(list(value.items())))
        elif isinstance(value, list | tuple):
            pending.extend(((*path, index), value[index]) for index in reversed(range(len(value))))


def storages_of(state: Any) -> list[torch.UntypedStorage]:
    """The distinct non-empty storages of a state's tensors, in the order first met."""
    found: dict[int, torch.UntypedStorage] = {}
    for _, tensor in tensors_of(state):
        storage = tensor.untyped_storage()
        if storage.nbytes():
            found.setdefault(storage.data_ptr(), storage)
    return list(found.values())

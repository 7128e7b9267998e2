"""A state as a tree of plain containers with tensors as leaves: walked, checked, rebuilt.

Only what ``torch.load(weights_only=True)`` gives back is allowed in.
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
_ITEMS_SHOWN = 5


def map_tensors(state: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The state rebuilt with each tensor replaced; containers are new, scalars shared.

    The ``_metadata`` that ``Module.state_dict()`` hangs on its dict is kept.

    Raises:
        UnsavableStateError: a value that would not load back, named by its key.
    """
    return _mapped(state, change, ())


def _mapped(
    value: Any, change: Callable[[torch.Tensor], torch.Tensor], path: tuple[Any, ...]
) -> Any:
    kind = type(value)
    if kind in _TENSORS:
        return change(_checked(value, path))
    if kind in _SCALARS:
        return value
    if kind in _MAPPINGS:
        rebuilt = kind()
        for key, item in value.items():
            _check_key(key, path)
            rebuilt[key] = _mapped(item, change, (*path, key))
        metadata = getattr(value, "_metadata", None)
        if metadata is not None:
            rebuilt._metadata = _mapped(metadata, change, (*path, "_metadata"))
        return rebuilt
    if kind in _SEQUENCES:
        return kind(_mapped(item, change, (*path, index)) for index, item in enumerate(value))
    if kind is set:
        for item in value:
            _check_key(item, path)
        return set(value)
    raise UnsavableStateError(_refusal(value, path))


def _checked(tensor: torch.Tensor, path: tuple[Any, ...]) -> torch.Tensor:
    if tensor.is_meta:
        reason = "is on the meta device: it has no values; materialise the model first"
    elif tensor.layout != torch.strided or tensor.is_quantized:
        reason = f"is a {tensor.layout} tensor, quantised or sparse; make it dense first"
    else:
        return tensor
    raise UnsavableStateError(f"state[{_joined(path)}] {reason}")


def _check_key(key: Any, path: tuple[Any, ...]) -> None:
    if type(key) is tuple:
        for item in key:
            _check_key(item, path)
    elif type(key) not in _SCALARS:
        raise UnsavableStateError(_refusal(key, path))


def _refusal(value: Any, path: tuple[Any, ...]) -> str:
    kind = type(value)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    return (
        f"state[{_joined(path)}] is a {name}, which cannot be loaded back without running "
        "pickled code; store plain numbers, strings, lists, dicts and tensors "
        "(float(x), str(path), torch.from_numpy(array), tensor.to_dense())"
    )


def _joined(path: tuple[Any, ...]) -> str:
    return "][".join(repr(key) for key in path)


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

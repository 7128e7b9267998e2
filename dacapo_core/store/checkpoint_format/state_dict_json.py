"""A state's structure as JSON: containers, keys and numbers, with its tensors by number.

Every value that `savable_state` lets into a state has a form here, so a checkpoint can be rebuilt
without unpickling anything.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import torch

# what JSON gives back as it was, NaN and infinities included; all else is a list with a tag
_PLAIN = {type(None), bool, int, float, str}
_MAPPINGS = {"dict": dict, "ordered": OrderedDict, "counter": Counter}
_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "size": torch.Size}
_TAGS = {kind: tag for tag, kind in {**_MAPPINGS, **_SEQUENCES}.items()}
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype)
}
_TO_JSON: dict[type, Callable[[Any], list[Any]]] = {
    complex: lambda value: [value.real, value.imag],
    bytes: lambda value: [value.decode("latin-1")],
    bytearray: lambda value: [value.decode("latin-1")],
    torch.dtype: lambda value: [str(value).removeprefix("torch.")],
    torch.device: lambda value: [str(value)],
}
_FROM_JSON: dict[str, Callable[..., Any]] = {
    "complex": complex,
    "bytes": lambda text: text.encode("latin-1"),
    "bytearray": lambda text: bytearray(text.encode("latin-1")),
    "dtype": DTYPES.__getitem__,
    "device": torch.device,
}
_METADATA = "metadata"
_TENSOR = "tensor"


def encode(value: Any, number: Callable[[torch.Tensor], int]) -> Any:
    """The JSON form of a state, or of a part of one.

    Args:
        number: gives a tensor its number.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, torch.Tensor):
        return [_TENSOR, number(value)]
    tag = _TAGS.get(kind)
    if tag in _MAPPINGS:
        encoded: list[Any] = [tag]
        for key, item in value.items():
            encoded.append(key if type(key) is str else encode(key, number))
            encoded.append(encode(item, number))
        metadata = getattr(value, "_metadata", None)
        return encoded if metadata is None else [_METADATA, encoded, encode(metadata, number)]
    if tag == "set":
        # sets of equal content have an order of their own in each process
        return [tag, *sorted((encode(item, number) for item in value), key=json.dumps)]
    if tag is not None:
        return [tag, *(encode(item, number) for item in value)]
    if kind in _TO_JSON:
        return [kind.__name__, *_TO_JSON[kind](value)]
    raise TypeError(f"{kind.__name__} has no JSON form")


def decode(encoded: Any, tensor: Callable[[int], torch.Tensor]) -> Any:
    """What was encoded.

    Args:
        tensor: gives the tensor of a number.

    Raises:
        ValueError: it was not encoded here.
    """
    if type(encoded) is not list:
        if type(encoded) is dict:
            raise ValueError("a dict without a tag")
        return encoded
    tag = encoded[0]
    if tag == _TENSOR:
        return tensor(encoded[1])
    if tag in _MAPPINGS:
        decoded = _MAPPINGS[tag]()
        for key, item in zip(encoded[1::2], encoded[2::2], strict=True):
            decoded[key if type(key) is str else decode(key, tensor)] = decode(item, tensor)
        return decoded
    if tag in _SEQUENCES:
        return _SEQUENCES[tag]([decode(item, tensor) for item in encoded[1:]])
    if tag == _METADATA:
        decoded = decode(encoded[1], tensor)
        if type(decoded) is not OrderedDict:
            raise ValueError(f"metadata of a {type(decoded).__name__}")
        decoded._metadata = decode(encoded[2], tensor)  # type: ignore[attr-defined]
        return decoded
    if tag in _FROM_JSON:
        return _FROM_JSON[tag](*encoded[1:])
    raise ValueError(f"unknown tag {tag!r}")

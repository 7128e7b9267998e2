"""A state's structure as JSON: containers, keys and numbers, with its tensors by number.

Every value that `state_tree` lets into a state has a form here, so a checkpoint can be rebuilt
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
    return _encoded_scalar(value)


def _encoded_scalar(value: Any) -> Any:
    if type(value) is complex:
        return ["complex", value.real, value.imag]
    if type(value) in (bytes, bytearray):
        return [type(value).__name__, value.decode("latin-1")]
    if type(value) is torch.dtype:
        return ["dtype", str(value).removeprefix("torch.")]
    if type(value) is torch.device:
        return ["device", str(value)]
    raise TypeError(f"{type(value).__name__} has no JSON form")


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
    return _decoded_scalar(tag, encoded[1:])


def _decoded_scalar(tag: str, content: list[Any]) -> Any:
    if tag == "complex":
        return complex(*content)
    if tag == "bytes":
        return content[0].encode("latin-1")
    if tag == "bytearray":
        return bytearray(content[0].encode("latin-1"))
    if tag == "dtype":
        return DTYPES[content[0]]
    if tag == "device":
        return torch.device(content[0])
    raise ValueError(f"unknown tag {tag!r}")

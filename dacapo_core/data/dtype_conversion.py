"""Values in the types that arrays are stored in, as tensors.

torch computes little with uint16, uint32 and uint64; they are carried under the signed type of
their size, bit for bit, and told apart again where their value matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SIGNED = {"uint16": np.int16, "uint32": np.int32, "uint64": np.int64}


def stored_tensor(values: NDArray[Any]) -> Tensor:
    """The same memory as a tensor, unsigned types under the signed one of their size."""
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    values = np.require(np.ascontiguousarray(values), requirements="W")
    signed = _SIGNED.get(values.dtype.name)
    return torch.from_numpy(values if signed is None else values.view(signed))


def stored_numbers(numbers: Iterable[int], dtype: np.dtype[Any]) -> list[int | float]:
    """`numbers` as `stored_tensor` shows them; those that `dtype` cannot hold are left out."""
    if dtype.kind == "f":
        return [float(number) for number in numbers]
    if dtype.kind == "b":
        return [number for number in numbers if number in (0, 1)]
    limits = np.iinfo(dtype)
    held = np.array([n for n in numbers if limits.min <= n <= limits.max], dtype.newbyteorder("="))
    signed = _SIGNED.get(dtype.newbyteorder("=").name)
    return (held if signed is None else held.view(signed)).tolist()


def as_float32(values: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """What `stored_tensor` carries of an array of `dtype`, as float32; always a copy."""
    name = dtype.newbyteorder("=").name
    if name == "uint16":
        return (values.to(torch.int32) & 0xFFFF).to(torch.float32)
    if name == "uint32":
        return (values.to(torch.int64) & 0xFFFFFFFF).to(torch.float32)
    if name == "uint64":
        wide = values.to(torch.float64)
        return torch.where(values < 0, wide + 2.0**64, wide).to(torch.float32)
    return values.to(torch.float32, copy=True)

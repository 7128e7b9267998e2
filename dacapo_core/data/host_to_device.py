"""Copies of values to a device that the host does not wait for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """`values` on a device; on CUDA they are copied from pinned memory while the host goes on."""
    if values.device == device:
        return values
    if values.device.type == "cpu" and device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def upload_together(arrays: Sequence[NDArray[np.float32]], device: torch.device) -> list[Tensor]:
    """Float32 arrays on a device, in one copy."""
    if not arrays:
        return []
    flat = torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))
    parts = to_device(flat, device).split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]

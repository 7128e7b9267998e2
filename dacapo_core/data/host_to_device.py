"""Values brought to a device in copies that nobody waits for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """`values` on a device, to which they travel while the host goes on."""
    if values.device == device:
        return values
    if values.device.type == "cpu" and device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


class Upload:
    """Float32 arrays for a device; on CUDA they travel together, from pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._arrays: list[NDArray[Any]] = []

    def add(self, array: NDArray[np.float32]) -> None:
        """Take an array along."""
        self._arrays.append(array)

    def send(self) -> list[Tensor]:
        """All arrays on the device, in the order in which they were added."""
        if not self._arrays:
            return []
        flat = torch.from_numpy(np.concatenate([array.ravel() for array in self._arrays]))
        flat = to_device(flat, self._device)
        parts = flat.split([array.size for array in self._arrays])
        return [part.view(a.shape) for part, a in zip(parts, self._arrays, strict=True)]

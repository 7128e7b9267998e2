"""Sending a state to other processes: its layout in one message, then its tensors one by one."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dacapo_core.store.checkpoint_format.savable_state import map_tensors


class Kind(NamedTuple):
    """Shape, dtype and place of a tensor: what a process needs to receive it."""

    shape: torch.Size
    dtype: torch.dtype
    on_host: bool

    @classmethod
    def of(cls, tensor: Tensor) -> Kind:
        return cls(tensor.shape, tensor.dtype, tensor.device.type == "cpu")

    def empty(self, device: torch.device) -> Tensor:
        """Memory for such a tensor: in host memory if it was there, else on `device`."""
        where = torch.device("cpu") if self.on_host else device
        return torch.empty(self.shape, dtype=self.dtype, device=where)


def numbered(state: Any, tensors: list[Tensor]) -> Any:
    """The state's layout: each tensor, which is appended to `tensors`, replaced by its index."""

    def number(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return torch.tensor(len(tensors) - 1)

    return map_tensors(state, number)

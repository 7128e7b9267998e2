"""A state whose tensors go to other processes one by one, and what is said of it before."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dacapo_core.store.checkpoint_format.savable_state import map_tensors


class Kind(NamedTuple):
    """All of a tensor but its values."""

    shape: torch.Size
    dtype: torch.dtype
    on_host: bool

    @classmethod
    def of(cls, tensor: Tensor) -> Kind:
        return cls(tensor.shape, tensor.dtype, tensor.device.type == "cpu")

    def empty(self, device: torch.device) -> Tensor:
        """A tensor of this kind, on `device` unless its like is on the host."""
        where = torch.device("cpu") if self.on_host else device
        return torch.empty(self.shape, dtype=self.dtype, device=where)


def numbered(state: Any, tensors: list[Tensor]) -> Any:
    """A state with numbers in place of its tensors, which are appended to `tensors`."""

    def number(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return torch.tensor(len(tensors) - 1)

    return map_tensors(state, number)

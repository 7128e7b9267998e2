"""Tensors of which each process holds a share, and those that it has whole."""

from __future__ import annotations

from torch import Tensor


def is_shared_out(tensor: Tensor) -> bool:
    """Whether this process has but its share of the tensor."""
    # asked of the tensor: torch's DTensor takes a second to import, and most runs have none
    return hasattr(tensor, "full_tensor")


def share_of(tensor: Tensor) -> Tensor:
    """This process's share; of a tensor that is not shared out, all of it."""
    return tensor.to_local() if is_shared_out(tensor) else tensor  # type: ignore[attr-defined]


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, where it is. If it is shared out, all processes call this."""
    return tensor.full_tensor() if is_shared_out(tensor) else tensor  # type: ignore[attr-defined]

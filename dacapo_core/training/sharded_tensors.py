"""Tensors that FSDP2 has split over the processes (``DTensor``), and ordinary ones."""

from __future__ import annotations

from torch import Tensor


def is_shared_out(tensor: Tensor) -> bool:
    """Whether the tensor is split over the processes."""
    # asked of the tensor: torch's DTensor takes a second to import, and most runs have none
    return hasattr(tensor, "full_tensor")


def share_of(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds: all of one that is not split."""
    return tensor.to_local() if is_shared_out(tensor) else tensor  # type: ignore[attr-defined]


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor, on its device. Of one that is split, all processes must call this."""
    return tensor.full_tensor() if is_shared_out(tensor) else tensor  # type: ignore[attr-defined]

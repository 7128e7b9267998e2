"""The device that trains."""

from __future__ import annotations

import resource
import sys

import torch

from dacapo_core.settings import get_settings


def find_device(name: str | torch.device | None = None) -> torch.device:
    """The device to train on: as named, as the settings say, else CUDA where there is one.

    Raises:
        ValueError: there is no such device here.
    """
    named = str(name) if name is not None else get_settings().device
    if named is None:
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(named)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        raise ValueError(
            f"device {named!r} (argument device or DACAPO_DEVICE) cannot be used here: "
            f"{str(error).splitlines()[0]}; there are: {', '.join(['cpu', *cuda])}"
        ) from error
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return device


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held so far: on a GPU there, else in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

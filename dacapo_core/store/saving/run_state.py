"""The state of a run, as a checkpoint holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dacapo_core.store.checkpoint_format.wrapper_prefixes import plain_state
from dacapo_core.store.errors import UnsavableStateError
from dacapo_core.store.weights_store import TrainedRun


def state_of(run: TrainedRun) -> dict[str, Any]:
    """``{"model": …, "optimizer": …}``, and ``"extra"`` where the run offers it.

    The model's tensors have the names of the plain model, whatever wraps it.

    Raises:
        UnsavableStateError: one of them is no dict, so it could not be loaded back.
    """
    state = {
        "model": plain_state(run.model, _part(run.model, "state_dict", "the run's model")),
        "optimizer": _part(run.optimizer, "state_dict", "the run's optimizer"),
    }
    if getattr(run, "extra_state", None) is not None:
        state["extra"] = _part(run, "extra_state", "the run", or_none=True)
    return state


def host_state_of(run: TrainedRun) -> dict[str, Any] | None:
    """As `state_of`, gathered from several processes, in host memory that the run keeps.

    It stays unchanged until the next call. None where this process has the whole state.
    """
    gather = getattr(run, "gather_state", None)
    state: dict[str, Any] | None = None if gather is None else gather()
    return state


def buffers_of(model: Any) -> frozenset[int]:
    """Addresses of the storages that a forward pass may change, such as running statistics."""
    buffers = model.buffers() if isinstance(model, torch.nn.Module) else ()
    return frozenset(buffer.untyped_storage().data_ptr() for buffer in buffers)


def device_of(model: Any) -> torch.device | None:
    """The CUDA device that holds all of a model, to read its state to; else None."""
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else ()
    devices = {parameter.device for parameter in parameters}
    device = devices.pop() if len(devices) == 1 else None
    return device if device is not None and device.type == "cuda" else None


def _part(owner: Any, method: str, name: str, *, or_none: bool = False) -> Any:
    ask = getattr(owner, method, None)
    if not callable(ask):
        raise UnsavableStateError(f"{name} has no method {method}(): it is {owner!r:.80}")
    part = ask()
    if not isinstance(part, Mapping) and not (or_none and part is None):
        raise UnsavableStateError(
            f"{method}() of {name} returned a {type(part).__name__}; return a dict of what is to "
            "be stored"
        )
    return part

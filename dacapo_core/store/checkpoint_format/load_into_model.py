"""Loading weights into a model and an optimizer, after a check that they fit both."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from dacapo_core.store.checkpoint_format.wrapper_prefixes import names_for, renamed_state
from dacapo_core.store.errors import WeightsDoNotFitError

logger = logging.getLogger(__name__)

# settings of a group that torch adds to one stored before they existed
_LATER = {
    "amsgrad",
    "capturable",
    "decoupled_weight_decay",
    "differentiable",
    "foreach",
    "fused",
    "maximize",
}
# what optimizers keep for each element of a parameter
_PER_ELEMENT = {
    "acc_delta",
    "exp_avg",
    "exp_avg_sq",
    "exp_inf",
    "grad_avg",
    "max_exp_avg_sq",
    "momentum_buffer",
    "prev",
    "square_avg",
    "step_size",
    "sum",
}
# kept or not depending on settings of the group, which come from the checkpoint too
_OF_SETTINGS = {"grad_avg", "max_exp_avg_sq", "momentum_buffer"}
_SHOWN = 5


def load_state(
    what: str,
    model: Any,
    model_state: Mapping[str, Any],
    optimizer: Any = None,
    optimizer_state: Mapping[str, Any] | None = None,
) -> None:
    """Load a state into a model, and one into an optimizer where it is given; both or neither.

    Names that differ by the prefixes of wrappers are taken as one; a line of the log says so.

    Args:
        what: how messages call the state: ``checkpoint 7 of run 'r'``.

    Raises:
        WeightsDoNotFitError: names, shapes, types or the optimizer's groups differ. Nothing has
            been changed.
    """
    own = model.state_dict()
    if any(hasattr(value, "full_tensor") for value in own.values()):
        raise WeightsDoNotFitError(
            f"{what} cannot be loaded into a model that several processes have shared out already; "
            "load it before their first step or validation",
            [],
        )
    names = names_for(model, own, model_state)
    renamed = renamed_state(model_state, names)
    faults = _model_differences(own, renamed)
    translates = _translates_names(model)
    if translates:
        faults = [fault for fault in faults if not isinstance(fault, _OtherName)]
    if optimizer is not None:
        faults += _optimizer_differences(optimizer, optimizer_state or {})
    if faults:
        raise _misfit(what, faults)
    others = [name for name, mapped in names.items() if name != mapped]
    if others:
        logger.info(
            "%s: %d tensors under other names, %s as %s",
            what,
            len(others),
            others[0],
            names[others[0]],
        )
    before = {name: _copy_of(value) for name, value in own.items()} if translates else None
    try:
        model.load_state_dict(renamed)
    except RuntimeError as error:
        if before is None:
            raise
        model.load_state_dict(before)
        raise _misfit(what, [str(error)]) from error
    if optimizer is not None:
        optimizer.load_state_dict(optimizer_state)


def check_fit(what: str, model: Any, state: Mapping[str, Any]) -> None:
    """Make sure that a model's own ``load_state_dict`` takes a state; changes nothing.

    Raises:
        WeightsDoNotFitError: names, shapes or types differ.
    """
    faults = _model_differences(model.state_dict(), state)
    if faults:
        raise _misfit(what, faults)


class _OtherName(str):
    """A difference in names, which a model's own hooks may resolve."""


def _misfit(what: str, faults: list[str]) -> WeightsDoNotFitError:
    more = len(faults) - _SHOWN
    shown = "; ".join(faults[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return WeightsDoNotFitError(
        f"{what} does not fit, and nothing was loaded: {shown}. Build model and optimizer as they "
        "were when it was stored, or start a new run from it (start_config), which takes what fits",
        faults,
    )


def _translates_names(model: Any) -> bool:
    """Whether the model has hooks that rename what is loaded, as weight_norm's do."""
    if not isinstance(model, torch.nn.Module):
        return False
    return any(module._load_state_dict_pre_hooks for module in model.modules())


def _copy_of(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) and not is_lazy(value) else value


def _model_differences(own: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    faults: list[str] = []
    for name, value in own.items():
        if name not in stored:
            faults.append(_OtherName(f"{name} ({_described(value)}) is not in it"))
            continue
        found = stored[name]
        if not isinstance(value, torch.Tensor) or is_lazy(value):
            continue
        if not isinstance(found, torch.Tensor):
            faults.append(f"{name} is a {type(found).__name__} in it, a tensor in the model")
        elif found.shape != value.shape:
            faults.append(f"{name} has shape {_shape(found)} in it, {_shape(value)} in the model")
        elif found.dtype != value.dtype:
            faults.append(f"{name} is {_dtype(found)} in it, {_dtype(value)} in the model")
    faults += [
        _OtherName(f"{name} ({_described(value)}) is not in the model")
        for name, value in stored.items()
        if name not in own
    ]
    return faults


def _optimizer_differences(optimizer: Any, stored: Mapping[str, Any]) -> list[str]:
    if not isinstance(optimizer, torch.optim.Optimizer):
        return []
    kind = type(optimizer).__name__
    groups, states = stored.get("param_groups"), stored.get("state")
    if not isinstance(groups, list) or not isinstance(states, Mapping):
        return ["it holds no state of an optimizer"]
    own = optimizer.param_groups
    if len(groups) != len(own):
        return [f"the optimizer has {len(groups)} groups of parameters in it, {len(own)} here"]
    faults = []
    parameters: list[tuple[Any, torch.Tensor, str]] = []
    for number, (group, mine) in enumerate(zip(groups, own, strict=True)):
        name = f"group {number} of the optimizer"
        labels = group.get("name"), mine.get("name")
        if None not in labels and labels[0] != labels[1]:
            faults.append(f"{name} is {labels[0]!r} in it, {labels[1]!r} here")
        there, here = group.get("params", ()), mine["params"]
        if len(there) != len(here):
            faults.append(f"{name} has {len(there)} parameters in it, {len(here)} here")
            continue
        lacking = sorted(set(optimizer.defaults) - set(group) - _LATER)
        if lacking:
            faults.append(f"{name} has no {', '.join(lacking)} in it, which {kind} needs")
        parameters += [
            (index, parameter, f"parameter {i} of {name}")
            for i, (index, parameter) in enumerate(zip(there, here, strict=True))
        ]
    for index, parameter, name in parameters:
        if index in states:
            faults += _state_differences(name, parameter, states[index], optimizer)
    return faults


def _state_differences(
    name: str, parameter: torch.Tensor, stored: Any, optimizer: torch.optim.Optimizer
) -> list[str]:
    if not isinstance(stored, Mapping):
        return [f"the state of {name} is a {type(stored).__name__} in it"]
    mine = optimizer.state.get(parameter, {})
    lacking = sorted(set(mine) - set(stored) - _OF_SETTINGS) if stored else []
    faults = [
        f"{name} has no {key} in it, which {type(optimizer).__name__} keeps" for key in lacking
    ]
    for key, value in stored.items():
        if not isinstance(value, torch.Tensor):
            continue
        expected = mine[key] if isinstance(mine.get(key), torch.Tensor) else parameter
        if (expected is not parameter or key in _PER_ELEMENT) and value.shape != expected.shape:
            faults.append(
                f"{key} of {name} has shape {_shape(value)} in it, {_shape(expected)} here"
            )
    return faults


def _described(value: Any) -> str:
    if not isinstance(value, torch.Tensor) or is_lazy(value):
        return type(value).__name__
    return f"{_shape(value)} {_dtype(value)}"


def _shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")

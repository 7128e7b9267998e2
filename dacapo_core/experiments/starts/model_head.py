"""A model's head and its backbone: which parameters belong to which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dacapo_core.store.checkpoint_format.wrapper_prefixes import (
    PARALLEL,
    inner_module,
    without_wrappers,
)

if TYPE_CHECKING:
    from torch import nn


def head_prefix(model: nn.Module) -> str:
    """How the keys of the model's head begin, with the dot.

    ``prediction_head`` where the model has one, as DaCapo's, cellmap-models' and ours do; else the
    last layer with parameters. Wrappers (DistributedDataParallel, torch.compile) are looked into,
    and leave nothing in it. Empty if no layer has parameters.
    """
    model = unwrap(model)
    if hasattr(model, "prediction_head"):
        return "prediction_head."
    layers = [
        without_wrappers(name)
        for name, module in model.named_modules()
        if name and next(module.parameters(recurse=False), None) is not None
    ]
    return f"{layers[-1]}." if layers else ""


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside its wrappers, of whatever kind they are."""
    while True:
        inner = inner_module(model)
        if inner is None and list(model._modules) == [PARALLEL]:
            inner = model._modules[PARALLEL]
        if inner is None:
            return model
        model = inner


def split_parameters(
    model: nn.Module,
) -> tuple[list[tuple[str, nn.Parameter]], list[tuple[str, nn.Parameter]]]:
    """The named parameters of the backbone and those of the head, each once."""
    model = unwrap(model)
    prefix = head_prefix(model)
    backbone: list[tuple[str, Any]] = []
    head: list[tuple[str, Any]] = []
    for name, parameter in model.named_parameters():
        of_the_head = bool(prefix) and without_wrappers(name).startswith(prefix)
        (head if of_the_head else backbone).append((name, parameter))
    return backbone, head


def parameter_groups(
    model: nn.Module, learning_rate: float, backbone_learning_rate_factor: float = 1.0
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer: the backbone at its share of the learning rate, and the head.

    The groups are named "backbone" and "head"; parameters keep the model's order.
    """
    backbone, head = split_parameters(model)
    groups = [
        ("backbone", backbone, learning_rate * backbone_learning_rate_factor),
        ("head", head, learning_rate),
    ]
    return [
        {"name": name, "params": [parameter for _, parameter in parameters], "lr": rate}
        for name, parameters, rate in groups
        if parameters
    ]


def freeze_backbone(model: nn.Module, frozen: bool) -> None:
    """Keep the backbone as it is, or train it again. A frozen parameter gets no gradient.

    BatchNorm in a frozen backbone uses its statistics and leaves them alone. Calling ``train()``
    on the model undoes that, so freeze anew after it.
    """
    for _, parameter in split_parameters(model)[0]:
        parameter.requires_grad_(not frozen)
        if frozen:
            parameter.grad = None
    inner = unwrap(model)
    prefix = head_prefix(inner)
    for name, module in inner.named_modules():
        of_the_head = bool(prefix) and f"{without_wrappers(name)}.".startswith(prefix)
        if getattr(module, "running_mean", None) is not None and not of_the_head:
            module.train(model.training and not frozen)

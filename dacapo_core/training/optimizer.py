"""The optimizer of a run."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts.model_head import parameter_groups
from dacapo_core.store.saving.state_fence import StateFence


def new_optimizer(
    config: RunConfig, model: nn.Module, device: torch.device, fence: StateFence
) -> torch.optim.AdamW:
    """AdamW with a group each for backbone and head; its steps wait at the fence.

    Args:
        device: on which the model is trained.
    """
    start = config.start_config
    optimizer = torch.optim.AdamW(
        parameter_groups(
            model,
            config.learning_rate,
            start.backbone_learning_rate_factor if start is not None else 1.0,
        ),
        lr=config.learning_rate,
        weight_decay=config.trainer_config.weight_decay,
        fused=device.type == "cuda",
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    optimizer.register_step_pre_hook(fence.wait)
    optimizer.register_load_state_dict_pre_hook(_computed_as_here)
    return optimizer


def _computed_as_here(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    # a checkpoint says how the optimizer that it is of computed, which its device decided
    groups = [dict(group) for group in state["param_groups"]]
    for group, own in zip(groups, optimizer.param_groups, strict=False):
        group["fused"] = own["fused"]
    return {**state, "param_groups": groups}

"""Mixed precision: in which number format the network computes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from dacapo_core.experiments.model import Model

Setting = Literal["auto", "off", "bf16", "fp16"]


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; without them it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def resolve_precision(setting: Setting, device: torch.device, model: Model) -> torch.dtype:
    """The dtype that `setting` means for `model` on `device`; float32 is no mixed precision.

    Raises:
        ValueError: bf16 on a CPU with a feature map of depth 2, see `shallow_convolutions`.
    """
    if setting == "off":
        return torch.float32
    if setting == "fp16":
        return torch.float16
    broken = shallow_convolutions(model) if device.type == "cpu" else []
    if setting == "bf16":
        if broken:
            raise ValueError(
                "trainer_config.mixed_precision 'bf16' does not work with this "
                f"architecture_config.input_shape on a CPU: {broken[0]} sees a feature map of "
                "depth 2, for which torch computes wrong gradients; take another depth, or 'off'"
            )
        return torch.bfloat16
    return torch.bfloat16 if not broken and computes_bf16(device) else torch.float32


def shallow_convolutions(model: Model) -> list[str]:
    """Names of the 3D convolutions whose input has a depth of exactly 2.

    torch's bfloat16 gradients of their weights are corrupt on CPUs (seen with torch 2.13).
    """
    found: list[str] = []
    shape = (1, model.num_in_channels, *model.input_shape)

    def look(name: str) -> None:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if inputs[0].shape[2] == 2:
                found.append(name)

        hooks.append(modules[name].register_forward_pre_hook(hook))

    hooks: list[torch.utils.hooks.RemovableHandle] = []
    modules = dict(model.named_modules())
    for name, module in modules.items():
        if isinstance(module, nn.Conv3d):
            look(name)
    try:
        state = {
            name: torch.empty_like(tensor, device="meta")
            for name, tensor in model.state_dict().items()
        }
        with torch.no_grad():
            torch.func.functional_call(model, state, torch.empty(shape, device="meta"))
    finally:
        for handle in hooks:
            handle.remove()
    return found

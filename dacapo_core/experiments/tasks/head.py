"""The prediction head: one convolution from feature maps to channels."""

from __future__ import annotations

from torch import nn

from dacapo_core.experiments.architectures import ArchitectureConfig


def create_head(
    architecture_config: ArchitectureConfig, channels: int, kernel_size: int = 1
) -> nn.Module:
    """A convolution that keeps the spatial shape; 1 × 1 × 1 is DaCapo's and COSEM's head."""
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[architecture_config.dims]
    return convolution(
        architecture_config.fmaps_out, channels, kernel_size, padding=kernel_size // 2
    )

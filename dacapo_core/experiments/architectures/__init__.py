"""Architectures: what turns raw data into the feature maps that a prediction head reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dacapo_core.experiments.architectures.cnnectome_unet_config import CNNectomeUNetConfig

if TYPE_CHECKING:
    from dacapo_core.experiments.architectures.cnnectome_unet import CNNectomeUNet

# every architecture has a `type` of its own; a second one makes this a union told apart by it
ArchitectureConfig = CNNectomeUNetConfig

__all__ = ["ArchitectureConfig", "CNNectomeUNet", "CNNectomeUNetConfig"]


def __getattr__(name: str) -> object:
    # the network needs torch, its configuration does not
    if name == "CNNectomeUNet":
        from dacapo_core.experiments.architectures.cnnectome_unet import CNNectomeUNet

        return CNNectomeUNet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""A model: an architecture and the head that predicts from its feature maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from dacapo_core.experiments.architectures.cnnectome_unet import CNNectomeUNet


class Model(nn.Module):
    """An architecture and its prediction head (DaCapo's ``dacapo.experiments.model.Model``).

    The state dict has ``architecture.unet.*`` and ``prediction_head.*``: DaCapo 0.3.5's keys
    without their second copies. ``channels`` are the labels of the head's output channels, in
    order; empty where the channels have no names. ``eval_activation`` is applied when the model
    is in evaluation mode only.
    """

    def __init__(
        self,
        architecture: CNNectomeUNet,
        prediction_head: nn.Module,
        channels: Sequence[str] = (),
        eval_activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if len(set(channels)) != len(channels):
            raise ValueError(f"channels {list(channels)} name a label twice")
        self.architecture = architecture
        self.prediction_head = prediction_head
        self.channels = list(channels)
        self.eval_activation = eval_activation
        self.num_in_channels = architecture.config.fmaps_in
        self.input_shape = architecture.config.input_shape
        self.eval_input_shape = architecture.config.eval_input_shape
        self.output_shape = architecture.config.output_shape()

    def forward(self, x: Tensor) -> Tensor:
        prediction = self.prediction_head(self.architecture(x))
        if self.eval_activation is not None and not self.training:
            prediction = self.eval_activation(prediction)
        return prediction

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial shape of the output for an input of `input_shape`, both in voxels."""
        return self.architecture.config.output_shape(input_shape)

    def scale(self, voxel_size: tuple[float, ...]) -> tuple[float, ...]:
        """Voxel size of the output for an input of `voxel_size`."""
        return self.architecture.config.scale(voxel_size)

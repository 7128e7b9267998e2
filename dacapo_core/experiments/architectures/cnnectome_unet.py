"""The U-Net of CNNectome, COSEM and DaCapo.

Reference: Heinrich et al. 2021, doi 10.1038/s41586-021-03977-3. Modules are named and nested as
in DaCapo 0.3.5 (``dacapo.experiments.architectures.cnnectome_unet``), so that its checkpoints and
the published COSEM networks fit key by key.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dacapo_core.experiments.architectures.cnnectome_unet_config import CNNectomeUNetConfig

Kernels = list[tuple[int, ...]]

CONVOLUTION: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BATCH_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM: dict[int, type[nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


class CNNectomeUNet(nn.Module):
    """A U-Net as its configuration says; ``(batch, fmaps_in, *shape)`` to
    ``(batch, fmaps_out, *config.output_shape(shape))``.

    With "same" padding the convolutions after ``upsample_factors`` pad as well; DaCapo's do not.
    """

    def __init__(self, config: CNNectomeUNetConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [UNet(config)]
        for factor in config.upsample_factors:
            layers.append(Upsample(config, factor, config.fmaps_out, config.fmaps_out, True))
            layers.append(
                ConvPass(config, config.fmaps_out, config.fmaps_out, config.kernels_upsampled)
            )
        self.unet = layers[0] if len(layers) == 1 else nn.Sequential(*layers)
        # as DaCapo's Model initialises its convolutions
        for module in self.modules():
            if isinstance(module, nn.modules.conv._ConvNd):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.unet(x)


class UNet(nn.Module):
    """The U-Net proper. ``r_up`` and ``r_conv`` have an outer list of one: DaCapo's decoders."""

    def __init__(self, config: CNNectomeUNetConfig) -> None:
        super().__init__()
        levels = range(config.levels - 1)
        fmaps = [config.num_fmaps * config.fmap_inc_factor**level for level in range(config.levels)]
        # the topmost upsampling keeps its feature maps, the others contract
        fmaps_up = [fmaps[1], *fmaps[1:-1]]
        fmaps_out = [config.fmaps_out, *fmaps[1:-1]]
        self.l_conv = nn.ModuleList(
            ConvPass(config, fmaps_in, fmaps_level, kernels)
            for fmaps_in, fmaps_level, kernels in zip(
                [config.fmaps_in, *fmaps[:-1]], fmaps, config.kernels_down, strict=True
            )
        )
        self.l_down = nn.ModuleList(
            MAX_POOL[config.dims](factor, stride=factor) for factor in config.downsample_factors
        )
        up = [
            Upsample(
                config,
                config.downsample_factors[level],
                fmaps[level + 1],
                fmaps_up[level],
                config.constant_upsample,
            )
            for level in levels
        ]
        conv = [
            ConvPass(
                config, fmaps[level] + fmaps_up[level], fmaps_out[level], config.kernels_up[level]
            )
            for level in levels
        ]
        self.r_up = nn.ModuleList([nn.ModuleList(up)])
        self.r_conv = nn.ModuleList([nn.ModuleList(conv)])
        self._strides = [tuple(axis.stride(level) for axis in config.axes) for level in levels]
        self._crops = [tuple(axis.crops_up[level] for axis in config.axes) for level in levels]

    def forward(self, x: Tensor) -> Tensor:
        skipped = []
        for conv, down in zip(self.l_conv, self.l_down, strict=False):
            x = conv(x)
            skipped.append(x)
            x = down(x)
        x = self.l_conv[-1](x)
        for level in reversed(range(len(skipped))):
            x = self.r_up[0][level](x)  # type: ignore[index]
            x = crop(
                x,
                tuple(
                    (size - lost) // stride * stride + lost
                    for size, lost, stride in zip(
                        x.shape[2:], self._crops[level], self._strides[level], strict=True
                    )
                ),
            )
            x = torch.cat([crop(skipped.pop(), tuple(x.shape[2:])), x], dim=1)
            x = self.r_conv[0][level](x)  # type: ignore[index]
        return x


class ConvPass(nn.Module):
    """Convolutions in a row, each with its normalisation, if any, and a ReLU."""

    def __init__(
        self, config: CNNectomeUNetConfig, fmaps_in: int, fmaps_out: int, kernels: Kernels
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for kernel in kernels:
            layers.append(
                CONVOLUTION[config.dims](fmaps_in, fmaps_out, kernel, padding=config.padding)
            )
            if config.batch_norm:
                layers.append(BATCH_NORM[config.dims](fmaps_out))
            elif config.normalisation == "instance":
                layers.append(INSTANCE_NORM[config.dims](fmaps_out, affine=True))
            layers.append(nn.ReLU(inplace=True))
            fmaps_in = fmaps_out
        self.conv_pass = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_pass(x)


class Upsample(nn.Module):
    """Upsampling by an integer factor: repeated voxels and a convolution of 1, or transposed."""

    def __init__(
        self,
        config: CNNectomeUNetConfig,
        factor: tuple[int, ...],
        fmaps_in: int,
        fmaps_out: int,
        constant: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if constant:
            scale_factor = tuple(float(size) for size in factor)
            layers.append(nn.Upsample(scale_factor=scale_factor, mode="nearest"))
            layers.append(CONVOLUTION[config.dims](fmaps_in, fmaps_out, (1,) * config.dims))
        else:
            layers.append(TRANSPOSED[config.dims](fmaps_in, fmaps_out, factor, stride=factor))
        if config.upsample_activation is not None:
            layers.append(nn.ReLU(inplace=True))
        self.up = layers[0] if len(layers) == 1 else nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x)


def crop(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The centre of `x`, of the given spatial shape."""
    for axis, size in enumerate(shape, start=2):
        x = x.narrow(axis, (x.shape[axis] - size) // 2, size)
    return x

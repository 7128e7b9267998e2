"""What a CNNectomeUNet is built from."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from dacapo_core.experiments.architectures.unet_shapes import UNetAxis
from dacapo_core.experiments.configuration import Configuration

if TYPE_CHECKING:
    from dacapo_core.experiments.architectures.cnnectome_unet import CNNectomeUNet

Shape = Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=2, max_length=3)]
Kernels = Annotated[list[Shape], Field(min_length=1)]

AXES = {2: ("y", "x"), 3: ("z", "y", "x")}


class CNNectomeUNetConfig(Configuration):
    """The U-Net of CNNectome, COSEM and DaCapo, 2D or 3D (DaCapo's class of the same name).

    Shapes are in voxels, in the order (z,) y, x. A shape that does not fit the network is an
    error when the configuration is made, and the message names the sizes that fit.
    """

    type: Literal["cnnectome_unet"] = "cnnectome_unet"
    name: str = Field("", description="DaCapo's name for this architecture; not used here.")
    input_shape: Shape = Field(
        (48, 48, 48), description="Shape of a training patch of raw data, in voxels."
    )
    eval_shape_increase: (
        Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=2, max_length=3)] | None
    ) = Field(None, description="Voxels to add to the input shape when only predicting.")
    fmaps_in: int = Field(1, gt=0, description="Channels of the raw data.")
    fmaps_out: int = Field(16, gt=0, description="Feature maps that the prediction head receives.")
    num_fmaps: int = Field(16, gt=0, description="Feature maps of the top level.")
    fmap_inc_factor: int = Field(2, gt=0, description="Factor of feature maps from level to level.")
    downsample_factors: Annotated[list[Shape], Field(min_length=1)] = Field(
        [(2, 2, 2), (2, 2, 2)], description="Downsampling between levels, top first."
    )
    kernel_size_down: list[Kernels] | None = Field(
        None, description="Kernels on the way down, a list a level. Default: two of 3 a level."
    )
    kernel_size_up: list[Kernels] | None = Field(
        None, description="Kernels on the way up, a list a level. Default: two of 3 a level."
    )
    upsample_factors: list[Shape] = Field(
        [], description="Upsampling after the U-Net, for an output finer than the input."
    )
    constant_upsample: bool = Field(
        True, description="Upsample by repeating voxels, else by transposed convolution."
    )
    upsample_activation: Literal["relu"] | None = Field(
        "relu",
        description="Activation after each upsampling. DaCapo and the conversion of the COSEM "
        "networks have ReLU; cellmap-models has none and so computes something else.",
    )
    padding: Literal["valid", "same"] = Field(
        "valid", description="'valid': the output is smaller than the input and has full context."
    )
    batch_norm: bool = Field(False, description="BatchNorm after each convolution, as DaCapo's.")
    normalisation: Literal["instance"] | None = Field(
        None, description="InstanceNorm after each convolution: learns faster from small batches."
    )

    @model_validator(mode="before")
    @classmethod
    def _no_upsampling_is_none_in_dacapo(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("upsample_factors", ()) is None:
            return {**values, "upsample_factors": []}
        return values

    @model_validator(mode="after")
    def _check(self) -> CNNectomeUNetConfig:
        self._check_dimensions()
        self._check_kernels()
        if self.batch_norm and self.normalisation is not None:
            raise ValueError("batch_norm and normalisation exclude each other: choose one")
        self._check_shape("input_shape", self.input_shape)
        if self.eval_shape_increase is not None:
            self._check_shape("input_shape + eval_shape_increase", self.eval_input_shape)
        return self

    def _check_dimensions(self) -> None:
        for field in ("eval_shape_increase", "downsample_factors", "upsample_factors"):
            value = getattr(self, field)
            shapes = value if isinstance(value, list) else [value] if value else []
            for shape in shapes:
                if len(shape) != self.dims:
                    raise ValueError(
                        f"{field} {shape} has {len(shape)} axes, input_shape "
                        f"{self.input_shape} has {self.dims}"
                    )

    def _check_kernels(self) -> None:
        for field, kernels, levels in (
            ("kernel_size_down", self.kernels_down, self.levels),
            ("kernel_size_up", self.kernels_up, self.levels - 1),
        ):
            if len(kernels) != levels:
                raise ValueError(
                    f"{field} has {len(kernels)} levels; {len(self.downsample_factors)} "
                    f"downsample_factors make it {levels}"
                )
            for kernel in (kernel for level in kernels for kernel in level):
                if len(kernel) != self.dims or any(size % 2 == 0 for size in kernel):
                    raise ValueError(
                        f"{field}: kernel {kernel} must be {self.dims} odd numbers; an even one "
                        "shifts the output by half a voxel"
                    )

    def _check_shape(self, field: str, shape: tuple[int, ...]) -> None:
        for name, axis, size in zip(AXES[self.dims], self.axes, shape, strict=True):
            if axis.output_size(size) is None:
                nearest = " or ".join(str(valid) for valid in axis.nearest_input_sizes(size))
                raise ValueError(
                    f"{field} {shape}: {size} voxels in {name} do not fit this U-Net; the nearest "
                    f"that do: {nearest} (valid are {axis.smallest_input_size()} and up, "
                    f"in steps of {axis.step})"
                )
        if self.normalisation == "instance":
            bottoms = [axis.bottom_size(size) for axis, size in zip(self.axes, shape, strict=True)]
            if all(bottom == 1 for bottom in bottoms):
                raise ValueError(
                    f"{field} {shape} leaves one voxel on the lowest level, and InstanceNorm needs "
                    "at least two: take a larger shape or normalisation=None"
                )

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.input_shape)

    @property
    def levels(self) -> int:
        """Levels of the U-Net, the lowest included."""
        return len(self.downsample_factors) + 1

    @property
    def kernels_down(self) -> list[list[tuple[int, ...]]]:
        """Kernels of each level on the way down."""
        return self.kernel_size_down or [[(3,) * self.dims] * 2] * self.levels

    @property
    def kernels_up(self) -> list[list[tuple[int, ...]]]:
        """Kernels of each level on the way up, top first."""
        return self.kernel_size_up or [[(3,) * self.dims] * 2] * (self.levels - 1)

    @property
    def kernels_upsampled(self) -> list[tuple[int, ...]]:
        """Kernels after each of `upsample_factors`: those of the lowest way up, as in DaCapo."""
        return self.kernels_up[-1]

    @cached_property
    def axes(self) -> tuple[UNetAxis, ...]:
        """The arithmetic of each axis."""

        def crop(kernels: list[tuple[int, ...]], axis: int) -> int:
            return sum(kernel[axis] - 1 for kernel in kernels) if self.padding == "valid" else 0

        return tuple(
            UNetAxis(
                factors=tuple(factor[axis] for factor in self.downsample_factors),
                crops_down=tuple(crop(kernels, axis) for kernels in self.kernels_down),
                crops_up=tuple(crop(kernels, axis) for kernels in self.kernels_up),
                upsample_factors=tuple(factor[axis] for factor in self.upsample_factors),
                upsample_crops=(crop(self.kernels_upsampled, axis),) * len(self.upsample_factors),
            )
            for axis in range(self.dims)
        )

    @property
    def input_shape_step(self) -> tuple[int, ...]:
        """Add multiples of this to an input shape that fits, and it fits still."""
        return tuple(axis.step for axis in self.axes)

    @property
    def minimal_input_shape(self) -> tuple[int, ...]:
        """The smallest input whose output has full context (216 for the COSEM networks)."""
        return tuple(axis.minimal_input_size() for axis in self.axes)

    @property
    def smallest_input_shape(self) -> tuple[int, ...]:
        """The smallest input that gives any output."""
        return tuple(axis.smallest_input_size() for axis in self.axes)

    @property
    def eval_input_shape(self) -> tuple[int, ...]:
        """The input shape for prediction."""
        increase = self.eval_shape_increase or (0,) * self.dims
        return tuple(a + b for a, b in zip(self.input_shape, increase, strict=True))

    @property
    def upsampling(self) -> tuple[int, ...]:
        """Output voxels along one input voxel."""
        factors = (1,) * self.dims
        for factor in self.upsample_factors:
            factors = tuple(a * b for a, b in zip(factors, factor, strict=True))
        return factors

    def output_shape(self, input_shape: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Spatial shape of the output for `input_shape` (default: its own), in output voxels.

        Raises ValueError, naming the sizes that fit, if `input_shape` does not.
        """
        shape = self.input_shape if input_shape is None else tuple(input_shape)
        if len(shape) != self.dims:
            raise ValueError(f"input shape {shape} has {len(shape)} axes, the network {self.dims}")
        self._check_shape("input shape", shape)
        sizes = [axis.output_size(size) for axis, size in zip(self.axes, shape, strict=True)]
        return tuple(size for size in sizes if size is not None)

    def scale(self, voxel_size: tuple[float, ...]) -> tuple[float, ...]:
        """Voxel size of the output for an input of `voxel_size`, in the same unit."""
        return tuple(a / b for a, b in zip(voxel_size, self.upsampling, strict=True))

    def build(self) -> CNNectomeUNet:
        """The network, freshly initialised."""
        from dacapo_core.experiments.architectures.cnnectome_unet import CNNectomeUNet

        return CNNectomeUNet(self)

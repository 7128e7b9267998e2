"""Where an array is and how it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from dacapo_core.experiments.configuration import Configuration

if TYPE_CHECKING:
    from dacapo_core.experiments.datasplits.datasets.arrays.array import Array
    from dacapo_core.experiments.datasplits.datasets.labels import Labels

VoxelSize = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=2, max_length=3)]
Offset = Annotated[tuple[float, ...], Field(min_length=2, max_length=3)]


class ZarrArrayConfig(Configuration):
    """A zarr array, format 2 or 3, or one level of an OME-Zarr, N5 or neuroglancer precomputed
    volume (DaCapo's `ZarrArrayConfig`). Which of them is found out.

    Voxel size and offset come from the array's attributes (`voxel_size` or `resolution` and
    `offset` as funlib writes them, cellmap's `transform`, N5's `pixelResolution`), else from those
    of the group around it (the same, or the coordinate transformations of an OME-Zarr), or from
    the `info` of a precomputed volume, unless they are given here. Axes may be in any order where
    they are named.
    """

    type: Literal["zarr"] = "zarr"
    file_name: str = Field(
        description="The container: a path or any fsspec URL (s3://…, https://…, file://…)."
    )
    dataset: str = Field(
        "",
        description="Path of the array within the container, such as 'labels/mito' or 'em/s0', or "
        "the scale of a precomputed volume; empty if file_name is the array itself.",
    )
    storage_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the file system, such as {'anon': true} for a public bucket.",
    )
    voxel_size: VoxelSize | None = Field(
        None, description="Voxel size in nm, (z,) y, x. Default: from the array's attributes."
    )
    offset: Offset | None = Field(
        None,
        description="Where the first voxel begins, in nm. Default: from the attributes, else 0.",
    )
    channels: list[str] | None = Field(
        None,
        description="For labels: names of the array's first axis, or the one name of a binary "
        "mask without such an axis. Nonzero is foreground.",
    )

    @model_validator(mode="after")
    def _channels_are_distinct(self) -> ZarrArrayConfig:
        if self.channels is not None and len(set(self.channels)) != len(self.channels):
            raise ValueError(f"channels {self.channels} name a label twice")
        return self

    @property
    def url(self) -> str:
        """The array's path or URL."""
        inside = self.dataset.strip("/")
        return f"{self.file_name.rstrip('/')}/{inside}" if inside else self.file_name

    def array(self) -> Array:
        """The array, opened for reading.

        Raises:
            FileNotFoundError: there is no array at the URL.
            ArrayError: it is there and cannot be used; the message names it and says why.
        """
        from dacapo_core.data.tensorstore_array import open_array

        return open_array(self)

    def labels(self) -> Labels:
        """Its channels as ground truth; raises as `array` does."""
        from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError
        from dacapo_core.experiments.datasplits.datasets.labels import ChannelLabels

        if self.channels is None:
            raise ArrayError(
                f"ground truth {self.url} has no channels: name them in gt_config.channels, or use "
                "gt_config.type binarize for integer labels"
            )
        return ChannelLabels(self.array(), self.channels)

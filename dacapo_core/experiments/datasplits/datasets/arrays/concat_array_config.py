"""Several binary masks as the channels of one ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.datasplits.datasets.arrays.zarr_array_config import ZarrArrayConfig

if TYPE_CHECKING:
    from dacapo_core.experiments.datasplits.datasets.labels import ConcatLabels


class ConcatArrayConfig(Configuration):
    """One array a channel, nonzero is foreground (DaCapo's `ConcatArrayConfig`)."""

    type: Literal["concat"] = "concat"
    source_array_configs: Annotated[dict[str, ZarrArrayConfig], Field(min_length=1)] = Field(
        description="Channel → its array. All have the same shape and voxel size."
    )

    @model_validator(mode="after")
    def _sources_have_no_channels(self) -> ConcatArrayConfig:
        for channel, source in self.source_array_configs.items():
            if source.channels is not None:
                raise ValueError(
                    f"source_array_configs.{channel}.channels: the channel is named by its key"
                )
        return self

    def labels(self) -> ConcatLabels:
        """The arrays as ground truth; raises as `ZarrArrayConfig.array` does."""
        from dacapo_core.experiments.datasplits.datasets.labels import ConcatLabels

        sources = self.source_array_configs
        return ConcatLabels({channel: source.array() for channel, source in sources.items()})

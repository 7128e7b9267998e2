"""Several binary masks as the channels of one ground truth."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.datasplits.datasets.arrays.zarr_array_config import ZarrArrayConfig


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

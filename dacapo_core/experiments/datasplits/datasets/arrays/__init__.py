"""Arrays of raw data and of labels, as they are configured (no zarr is imported here)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dacapo_core.experiments.datasplits.datasets.arrays.binarize_array_config import (
    BinarizeArrayConfig,
)
from dacapo_core.experiments.datasplits.datasets.arrays.concat_array_config import (
    ConcatArrayConfig,
)
from dacapo_core.experiments.datasplits.datasets.arrays.zarr_array_config import ZarrArrayConfig

GroundTruthConfig = Annotated[
    ZarrArrayConfig | BinarizeArrayConfig | ConcatArrayConfig, Field(discriminator="type")
]
"""Labels: channels of one array, integer labels, or one array a channel."""

__all__ = [
    "BinarizeArrayConfig",
    "ConcatArrayConfig",
    "GroundTruthConfig",
    "ZarrArrayConfig",
]

"""What a run trains and validates on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dacapo_core.experiments.datasplits.synthetic_datasplit_config import SyntheticDataSplitConfig
from dacapo_core.experiments.datasplits.train_validate_datasplit_config import (
    TrainValidateDataSplitConfig,
)

DataSplitConfig = Annotated[
    SyntheticDataSplitConfig | TrainValidateDataSplitConfig, Field(discriminator="type")
]
"""Volumes of one's own, or generated ones."""

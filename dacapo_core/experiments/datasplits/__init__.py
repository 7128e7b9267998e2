"""What a run trains and validates on."""

from __future__ import annotations

from dacapo_core.experiments.datasplits.augmentation_config import AugmentationConfig
from dacapo_core.experiments.datasplits.datasets import RawGTDatasetConfig, RoiConfig
from dacapo_core.experiments.datasplits.datasplit_config import DataSplitConfig
from dacapo_core.experiments.datasplits.synthetic_datasplit_config import SyntheticDataSplitConfig
from dacapo_core.experiments.datasplits.train_validate_datasplit_config import (
    TrainValidateDataSplitConfig,
)

__all__ = [
    "AugmentationConfig",
    "DataSplitConfig",
    "RawGTDatasetConfig",
    "RoiConfig",
    "SyntheticDataSplitConfig",
    "TrainValidateDataSplitConfig",
]

"""Volumes with their ground truth."""

from __future__ import annotations

from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset_config import (
    RawGTDatasetConfig,
    RoiConfig,
)

__all__ = ["RawGTDatasetConfig", "RoiConfig"]

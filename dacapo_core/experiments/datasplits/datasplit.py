"""The volumes of a run."""

from __future__ import annotations

from dataclasses import dataclass

from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset


@dataclass(frozen=True)
class DataSplit:
    """Volumes to train on and to validate on (DaCapo's ``DataSplit``)."""

    train: list[RawGTDataset]
    validate: list[RawGTDataset]

"""The volumes of a run."""

from __future__ import annotations

from dataclasses import dataclass

from dacapo_core.data.intensity_range import Intensities, Range
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset


@dataclass(frozen=True)
class DataSplit:
    """Volumes to train on and to validate on (DaCapo's ``DataSplit``)."""

    train: list[RawGTDataset]
    validate: list[RawGTDataset]

    @property
    def ranges(self) -> dict[str, Range]:
        """Volume → raw values that become -1 and 1."""
        return {
            **{dataset.name: dataset.intensity_range for dataset in self.validate},
            **{dataset.name: dataset.intensity_range for dataset in self.train},
        }

    def scaled(self, intensities: Intensities) -> DataSplit:
        """The same volumes with the ranges of their raw data."""
        return DataSplit(
            train=[dataset.scaled(intensities) for dataset in self.train],
            validate=[dataset.scaled(intensities) for dataset in self.validate],
        )

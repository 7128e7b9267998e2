"""Volumes to train on and volumes to validate on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.datasplits.datasets import RawGTDatasetConfig

if TYPE_CHECKING:
    from dacapo_core.experiments.datasplits.datasplit import DataSplit


class TrainValidateDataSplitConfig(Configuration):
    """Volumes to train on and volumes to validate on (DaCapo's class of the same name)."""

    type: Literal["train_validate"] = "train_validate"
    train_configs: Annotated[list[RawGTDatasetConfig], Field(min_length=1)] = Field(
        description="The volumes to train on."
    )
    validate_configs: list[RawGTDatasetConfig] = Field(
        description="The volumes to validate on; without any no checkpoint is ever the best."
    )

    @model_validator(mode="after")
    def _check(self) -> TrainValidateDataSplitConfig:
        for field in ("train_configs", "validate_configs"):
            configs: list[RawGTDatasetConfig] = getattr(self, field)
            names = [config.name.replace("/", "_") for config in configs]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{field} name a volume twice: {', '.join(twice)}")
            for config in configs:
                if config.gt_config is None:
                    does = "train" if field == "train_configs" else "validate"
                    raise ValueError(
                        f"{field}: volume {config.name!r} has no gt_config; without ground truth "
                        f"nobody can {does} on it"
                    )
        return self

    def build(self) -> DataSplit:
        """The volumes, opened and checked.

        Raises:
            FileNotFoundError: an array is not there.
            ArrayError: an array cannot be used; the message names it and says why.
        """
        from dacapo_core.experiments.datasplits.datasplit import DataSplit

        return DataSplit(
            train=[config.dataset() for config in self.train_configs],
            validate=[config.dataset() for config in self.validate_configs],
        )

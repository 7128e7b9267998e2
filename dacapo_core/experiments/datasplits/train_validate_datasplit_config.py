"""Volumes to train on and volumes to validate on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.datasplits.crop_expansion import expand_crops
from dacapo_core.experiments.datasplits.crop_table_config import CropTableConfig
from dacapo_core.experiments.datasplits.datasets import RawGTDatasetConfig

if TYPE_CHECKING:
    from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
    from dacapo_core.experiments.datasplits.datasplit import DataSplit


OPENED_AT_ONCE = 16

Volumes = Annotated[
    list[RawGTDatasetConfig],
    BeforeValidator(
        expand_crops, json_schema_input_type=list[RawGTDatasetConfig | CropTableConfig]
    ),
]
"""Volumes; patterns and tables of crops become volumes when they are read."""


class TrainValidateDataSplitConfig(Configuration):
    """Volumes to train on and volumes to validate on (DaCapo's class of the same name)."""

    type: Literal["train_validate"] = "train_validate"
    train_configs: Annotated[Volumes, Field(min_length=1)] = Field(
        description="The volumes to train on. A * in the paths of one makes it one volume a match; "
        "a table lists many."
    )
    validate_configs: Volumes = Field(
        description="The volumes to validate on, written the same ways; without any no checkpoint "
        "is ever the best."
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

        configs = [*self.train_configs, *self.validate_configs]
        # most of the time is spent waiting for metadata
        with ThreadPoolExecutor(OPENED_AT_ONCE) as pool:
            opened = [pool.submit(_open, config) for config in configs]
            try:
                datasets = [each.result() for each in opened]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        count = len(self.train_configs)
        return DataSplit(train=datasets[:count], validate=datasets[count:])


def _open(config: RawGTDatasetConfig) -> RawGTDataset:
    from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError

    try:
        return config.dataset()
    except (FileNotFoundError, ArrayError) as error:
        if repr(config.name) in str(error):
            raise
        raise type(error)(f"volume {config.name!r}: {error}") from error

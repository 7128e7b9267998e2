"""One volume: raw data and what is known about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator, model_validator

from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.datasplits.datasets.arrays import GroundTruthConfig, ZarrArrayConfig
from dacapo_core.store.layout import check_dataset_name

if TYPE_CHECKING:
    from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

Voxel = Annotated[int, Field(ge=0)]


class RoiConfig(Configuration):
    """A box of the ground truth, in its voxels."""

    begin: tuple[Voxel, Voxel, Voxel] = Field(
        (0, 0, 0), description="First voxel, z y x, as the ground truth counts them."
    )
    end: tuple[Voxel | None, Voxel | None, Voxel | None] = Field(
        (None, None, None), description="One past the last voxel, z y x; null: to the end."
    )

    @model_validator(mode="after")
    def _holds_a_voxel(self) -> RoiConfig:
        for axis, begin, end in zip("zyx", self.begin, self.end, strict=True):
            if end is not None and end <= begin:
                raise ValueError(f"end {end} in {axis} is not past begin {begin}")
        return self


class RawGTDatasetConfig(Configuration):
    """Raw data with ground truth (DaCapo's `RawGTDatasetConfig`)."""

    name: str = Field(description="Name of the volume; scores are kept under it.")
    weight: float = Field(
        1.0, gt=0, description="How often patches come from here, relative to other volumes."
    )
    raw_config: ZarrArrayConfig = Field(description="The raw data.")
    gt_config: GroundTruthConfig | None = Field(None, description="The ground truth.")
    mask_config: ZarrArrayConfig | None = Field(
        None,
        description="Zero where the ground truth says nothing: no loss, no score. It may cover "
        "a part of the ground truth; beyond it nothing is said either.",
    )
    roi: RoiConfig = Field(
        RoiConfig(),
        description="The part whose labels are used. Raw data around it still serves as context.",
    )
    intensity_range: tuple[float, float] | None = Field(
        None,
        description="Raw values that become -1 and 1. Default: found in the data when the run "
        "begins, the same for all volumes unless they differ much.",
    )

    @field_validator("name")
    @classmethod
    def _name_is_a_folder_of_the_store(cls, name: str) -> str:
        check_dataset_name(name)
        return name

    @field_validator("intensity_range")
    @classmethod
    def _range_is_not_empty(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"{value[0]} is not below {value[1]}")
        return value

    def dataset(self) -> RawGTDataset:
        """The volume, its arrays opened and checked against each other.

        Raises:
            FileNotFoundError: an array is not there.
            ArrayError: the arrays cannot be used together; the message names them.
        """
        from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError
        from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

        if self.gt_config is None:
            raise ArrayError(f"volume {self.name!r} has no gt_config")
        return RawGTDataset(
            self.name,
            self.raw_config.array(),
            self.gt_config.labels(),
            mask=None if self.mask_config is None else self.mask_config.array(),
            weight=self.weight,
            roi=(self.roi.begin, self.roi.end),
            intensity_range=self.intensity_range,
        )

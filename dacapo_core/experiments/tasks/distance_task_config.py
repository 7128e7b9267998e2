"""Configuration of the distance task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from dacapo_core.experiments.tasks.channels import Channels
from dacapo_core.experiments.tasks.evaluation_settings import EvaluationSettings

if TYPE_CHECKING:
    from dacapo_core.experiments.tasks.distance_task import DistanceTask


class DistanceTaskConfig(EvaluationSettings):
    """A signed distance to the boundary per channel and voxel: what the COSEM networks predict.

    The target is `tanh(distance / scale_factor)`, positive inside (DaCapo's class of the same
    name; Heinrich et al. 2021, doi 10.1038/s41586-021-03977-3).
    """

    type: Literal["distance"] = "distance"
    channels: Channels = Field(
        ["mito", "pm", "ves", "er"], description="Labels to predict, one output channel each."
    )
    scale_factor: float = Field(
        20.0,
        gt=0,
        description="Distance that tanh maps to 0.76, in world units (those of the voxel size). "
        "About half the thickness of the finest structures is learnt best; COSEM's networks were "
        "trained with 50 nm.",
    )
    mask_distances: bool = Field(
        True,
        description="Leave out voxels nearer to the patch's border than to a boundary: "
        "their true distance cannot be known.",
    )
    clipmin: float = Field(
        0.05, gt=0, le=0.5, description="Smallest share of foreground assumed when balancing."
    )
    clipmax: float = Field(
        0.95, ge=0.5, lt=1, description="Largest share of foreground assumed when balancing."
    )
    thresholds: Annotated[list[Annotated[float, Field(gt=-1, lt=1)]], Field(min_length=1)] = Field(
        [-0.1, 0.0, 0.1, 0.2, 0.3],
        description="Predicted tanh of distance above which a voxel is foreground.",
    )

    @model_validator(mode="after")
    def _check(self) -> DistanceTaskConfig:
        if self.clipmin >= self.clipmax:
            raise ValueError(f"clipmin {self.clipmin} must be smaller than clipmax {self.clipmax}")
        return self

    def build(self) -> DistanceTask:
        """The task itself."""
        from dacapo_core.experiments.tasks.distance_task import DistanceTask

        return DistanceTask(self)

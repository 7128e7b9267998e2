"""Volumes that the project generates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from dacapo_core.experiments.configuration import Configuration

if TYPE_CHECKING:
    from dacapo_core.experiments.datasplits.datasplit import DataSplit

Voxels = Annotated[int, Field(gt=0)]
Nanometres = Annotated[float, Field(gt=0)]


class SyntheticDataSplitConfig(Configuration):
    """Volumes that look like electron micrographs, drawn from a seed.

    Their labels are `pm` (membranes between cells), `mito` (mitochondria), `mito_mem`
    (their membranes), `ves` (vesicles) and `er`. The same configuration is the same volumes,
    everywhere.
    """

    type: Literal["synthetic"] = "synthetic"
    seed: int = Field(0, ge=0, description="Decides every voxel.")
    num_train: int = Field(6, gt=0, description="Volumes to train on.")
    num_validate: int = Field(1, ge=0, description="Volumes held out to validate on.")
    shape: tuple[Voxels, Voxels, Voxels] = Field(
        (64, 64, 64), description="Shape of the raw data, z y x, in voxels."
    )
    voxel_size: tuple[Nanometres, Nanometres, Nanometres] = Field(
        (8, 8, 8), description="Voxel size of the raw data, z y x, in nm."
    )
    label_scale: tuple[Voxels, Voxels, Voxels] = Field(
        (1, 1, 1),
        description="Label voxels along one raw voxel: (2, 2, 2) for a network with 8 nm in and "
        "4 nm out.",
    )
    noise: float = Field(
        0.12, ge=0, le=1, description="Standard deviation of the noise; the raw data is in -1…1."
    )

    @model_validator(mode="after")
    def _structures_fit(self) -> SyntheticDataSplitConfig:
        for axis, size, voxel in zip("zyx", self.shape, self.voxel_size, strict=True):
            if size * voxel < 100:
                raise ValueError(
                    f"shape {self.shape} at voxel_size {self.voxel_size} is {size * voxel:g} nm "
                    f"in {axis}: too small for an organelle; make it at least 100 nm"
                )
        return self

    def build(self) -> DataSplit:
        """The volumes, generated when they are first read."""
        from dacapo_core.experiments.datasplits.synthetic_datasplit import synthetic_datasplit

        return synthetic_datasplit(self)

"""How training patches are varied."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from dacapo_core.experiments.configuration import Configuration

# cubic B-splines whose control points move by less do not fold (Choi and Lee 2000, in 3D)
FOLDS_FROM = 0.4


class AugmentationConfig(Configuration):
    """Variation of training patches, drawn anew for each patch.

    Mirrors and transpositions keep voxels as they are: only axes of equal voxel size and shape
    are exchanged, so sections of anisotropic volumes stay sections. Elastic deformation is in nm:
    raw data is interpolated, labels and mask take the nearest voxel.
    """

    mirror: bool = Field(True, description="Mirror along each axis, with probability one half.")
    transpose: bool = Field(True, description="Exchange axes of equal voxel size and shape.")
    elastic_displacement: float = Field(
        0.0,
        ge=0,
        description="Elastic deformation moves each point by up to this along each axis, in nm; "
        "0 is none. A network of two dimensions sees it within sections.",
    )
    elastic_spacing: float = Field(
        400.0, gt=0, description="Distance of the points that elastic deformation moves, in nm."
    )
    contrast: float = Field(
        0.2, ge=0, lt=1, description="Contrast is multiplied by 1 ± this, at most."
    )
    brightness: float = Field(
        0.15, ge=0, description="Brightness is shifted by ± this at most; raw data is in -1…1."
    )
    section_brightness: float = Field(
        0.05, ge=0, description="Standard deviation of a shift of each section by itself."
    )
    noise: float = Field(
        0.05, ge=0, description="Largest standard deviation of noise that is added."
    )

    @model_validator(mode="after")
    def _does_not_fold(self) -> Self:
        if self.elastic_displacement > FOLDS_FROM * self.elastic_spacing:
            raise ValueError(
                f"elastic_displacement of {self.elastic_displacement:g} nm with elastic_spacing of "
                f"{self.elastic_spacing:g} nm may fold the volume onto itself; the displacement "
                f"may be {FOLDS_FROM} times the spacing at most"
            )
        return self

"""How training patches are varied."""

from __future__ import annotations

from pydantic import Field

from dacapo_core.experiments.configuration import Configuration


class AugmentationConfig(Configuration):
    """Variation of training patches, drawn anew for each patch.

    Geometric changes keep voxels as they are: only axes of equal voxel size and shape are
    exchanged, so sections of anisotropic volumes stay sections.
    """

    mirror: bool = Field(True, description="Mirror along each axis, with probability one half.")
    transpose: bool = Field(True, description="Exchange axes of equal voxel size and shape.")
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

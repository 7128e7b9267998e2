"""How predictions of a task are judged: what every task configuration has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dacapo_core.experiments.configuration import Configuration


class EvaluationSettings(Configuration):
    """Distances of DaCapo's binary criteria and the thresholds that validation tries."""

    clip_distance: float = Field(
        200.0,
        gt=0,
        description="Largest distance to count for false positives and negatives, in world units "
        "(those of the voxel size, usually nm).",
    )
    tol_distance: float = Field(
        40.0,
        ge=0,
        description="Distance within which a false positive or negative is tolerated, "
        "in world units.",
    )
    thresholds: Annotated[list[float], Field(min_length=1)] = Field(
        description="Thresholds that validation tries on the prediction; the best is kept "
        "with the best record.",
    )

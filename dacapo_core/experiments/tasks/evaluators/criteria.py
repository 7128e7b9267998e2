"""The criteria by which predictions are judged: names, directions, bounds. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

NAN = math.nan


@dataclass(frozen=True)
class Criterion:
    """What is known about a criterion.

    Attributes:
        higher_is_better: its direction.
        bounds: lowest and highest value; nan where there is none.
        store_best: a best checkpoint is kept for it unless asked otherwise.
    """

    higher_is_better: bool
    bounds: tuple[float, float]
    store_best: bool = False


BINARY_CRITERIA: dict[str, Criterion] = {
    "dice": Criterion(True, (0, 1)),
    "jaccard": Criterion(True, (0, 1)),
    "hausdorff": Criterion(False, (0, NAN)),
    "false_negative_rate": Criterion(False, (0, 1)),
    "false_negative_rate_with_tolerance": Criterion(False, (0, 1)),
    "false_positive_rate": Criterion(False, (0, 1)),
    "false_discovery_rate": Criterion(False, (0, 1)),
    "false_positive_rate_with_tolerance": Criterion(False, (0, 1)),
    "voi": Criterion(False, (0, 1), store_best=True),
    "mean_false_distance": Criterion(False, (0, NAN)),
    "mean_false_negative_distance": Criterion(False, (0, NAN)),
    "mean_false_positive_distance": Criterion(False, (0, NAN)),
    "mean_false_distance_clipped": Criterion(False, (0, NAN)),
    "mean_false_negative_distance_clipped": Criterion(False, (0, NAN)),
    "mean_false_positive_distance_clipped": Criterion(False, (0, NAN)),
    "precision_with_tolerance": Criterion(True, (0, 1)),
    "recall_with_tolerance": Criterion(True, (0, 1)),
    "f1_score_with_tolerance": Criterion(True, (0, 1)),
    "precision": Criterion(True, (0, 1)),
    "recall": Criterion(True, (0, 1)),
    "f1_score": Criterion(True, (0, 1), store_best=True),
}
"""DaCapo's ``BinarySegmentationEvaluationScores``: its names, directions and bounds.

The bounds are DaCapo's to the letter; the variation of information of two masks can in truth
reach 2 bits.
"""

INSTANCE_CRITERIA: dict[str, Criterion] = {
    "instance_voi_split": Criterion(False, (0, NAN)),
    "instance_voi_merge": Criterion(False, (0, NAN)),
    "instance_voi": Criterion(False, (0, NAN)),
}
"""Where the ground truth tells instances apart; DaCapo's ``InstanceEvaluationScores``."""

CRITERIA = {**BINARY_CRITERIA, **INSTANCE_CRITERIA}


def criterion(name: str) -> Criterion:
    """What is known about ``f1_score`` or, of one channel, ``mito__f1_score``.

    Raises:
        ValueError: there is no such criterion; the message lists those there are.
    """
    known = CRITERIA.get(name.rpartition("__")[2])
    if known is None:
        raise ValueError(f"there is no criterion {name!r}; there are {', '.join(CRITERIA)}")
    return known


def higher_is_better(name: str) -> bool:
    """The direction of a criterion, of one channel or not."""
    return criterion(name).higher_is_better


def bounds(name: str) -> tuple[float, float]:
    """Lowest and highest value of a criterion, nan where there is none."""
    return criterion(name).bounds


def store_best(name: str) -> bool:
    """Whether a best checkpoint is kept for a criterion unless asked otherwise."""
    return criterion(name).store_best

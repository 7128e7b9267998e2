"""How well a binary segmentation agrees with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dacapo_core.experiments.tasks.evaluators.variation_of_information import (
    entropy,
    variation_of_information,
)

NAN = float("nan")


class BinarySegmentationEvaluator:
    """Judges segmentations of one channel of one volume (DaCapo's class of the same name).

    What depends on the truth alone is computed once. The distances are those of CREMI: of each
    predicted voxel from the truth, and of each true voxel from the prediction. Scores that have no
    value are NaN: without any foreground most, and distances and the variation of information
    if only one of the two has any. Unlike DaCapo's, an empty prediction of something that is
    there has recall and F1 score 0, not NaN.

    Args:
        truth: the ground truth, nonzero is foreground.
        known: zero where `truth` says nothing; such voxels count for nothing. Default: all.
        voxel_size: along each axis of `truth`, in world units.
        clip_distance: largest distance that counts, in world units.
        tol_distance: a false voxel nearer than this is tolerated, in world units.
        instances: ids of instances, 0 is background; for the variation of information.
    """

    def __init__(
        self,
        truth: NDArray[Any],
        voxel_size: Sequence[float],
        *,
        known: NDArray[Any] | None = None,
        clip_distance: float = 200.0,
        tol_distance: float = 40.0,
        instances: NDArray[Any] | None = None,
    ) -> None:
        if len(voxel_size) != truth.ndim:
            raise ValueError(f"voxel size {tuple(voxel_size)} is not of {truth.ndim} axes")
        self._known = np.ones(truth.shape, bool) if known is None else known != 0
        self._truth = (truth != 0) & self._known
        self._voxel_size = tuple(float(size) for size in voxel_size)
        self._clip_distance = clip_distance
        self._tol_distance = tol_distance
        self._instances = instances

    @property
    def has_foreground(self) -> bool:
        """There is something to find."""
        return bool(self._truth.any())

    @property
    def has_known(self) -> bool:
        """The ground truth says anything at all."""
        return bool(self._known.any())

    @cached_property
    def _distance_to_truth(self) -> NDArray[np.float64]:
        return self._distance_to(self._truth)

    def _distance_to(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(ndimage.distance_transform_edt(~mask, sampling=self._voxel_size))

    def evaluate(self, segmentation: NDArray[Any]) -> dict[str, float]:
        """Every criterion of `segmentation`, nonzero is foreground, by name.

        Raises:
            ValueError: it has another shape than the truth.
        """
        if segmentation.shape != self._truth.shape:
            raise ValueError(
                f"segmentation of shape {segmentation.shape}, truth of shape {self._truth.shape}"
            )
        test = (segmentation != 0) & self._known
        scores = {**self._overlap(test), **self._distances(test)}
        if self._instances is not None:
            scores |= self._instance_scores(test, self._instances)
        return scores

    def _overlap(self, test: NDArray[np.bool_]) -> dict[str, float]:
        true_positive = int((test & self._truth).sum())
        false_positive = int(test.sum()) - true_positive
        false_negative = int(self._truth.sum()) - true_positive
        true_negative = int(self._known.sum()) - true_positive - false_positive - false_negative
        positive = true_positive + false_negative
        found = true_positive + false_positive
        f1 = _share(2 * true_positive, positive + found)
        joint = np.array([true_positive, false_positive, false_negative, true_negative])
        voi = NAN
        if positive and found:
            voi = 2 * entropy(joint)
            voi -= entropy(np.array([positive, false_positive + true_negative]))
            voi -= entropy(np.array([found, false_negative + true_negative]))
        return {
            "dice": f1,
            "jaccard": _share(true_positive, positive + false_positive),
            "false_negative_rate": _share(false_negative, positive),
            "false_positive_rate": _share(false_positive, false_positive + true_negative),
            "false_discovery_rate": _share(false_positive, found),
            "voi": max(voi, 0.0) if voi == voi else NAN,
            "precision": _share(true_positive, found),
            "recall": _share(true_positive, positive),
            "f1_score": f1,
        }

    def _distances(self, test: NDArray[np.bool_]) -> dict[str, float]:
        if not (self._truth.any() and test.any()):
            neither = not self._truth.any() and not test.any()
            scores = dict.fromkeys(_DISTANCE_CRITERIA, NAN)
            return {**scores, "hausdorff": 0.0 if neither and self.has_known else NAN}
        of_found = self._distance_to_truth[test]
        of_true = self._distance_to(test)[self._truth]
        false_positive = int((of_found > self._tol_distance).sum())
        false_negative = int((of_true > self._tol_distance).sum())
        true_positive = int((test | self._truth).sum()) - false_positive - false_negative
        negative = int((self._known & ~self._truth).sum())
        positive_distance, negative_distance = float(of_found.mean()), float(of_true.mean())
        clipped_positive = float(np.minimum(of_found, self._clip_distance).mean())
        clipped_negative = float(np.minimum(of_true, self._clip_distance).mean())
        return {
            "hausdorff": float(max(of_found.max(), of_true.max())),
            "false_negative_rate_with_tolerance": _share(false_negative, len(of_true)),
            "false_positive_rate_with_tolerance": _share(false_positive, negative),
            "mean_false_distance": 0.5 * (positive_distance + negative_distance),
            "mean_false_negative_distance": negative_distance,
            "mean_false_positive_distance": positive_distance,
            "mean_false_distance_clipped": 0.5 * (clipped_positive + clipped_negative),
            "mean_false_negative_distance_clipped": clipped_negative,
            "mean_false_positive_distance_clipped": clipped_positive,
            "precision_with_tolerance": _share(true_positive, true_positive + false_positive),
            "recall_with_tolerance": _share(true_positive, true_positive + false_negative),
            "f1_score_with_tolerance": _share(
                2 * true_positive, 2 * true_positive + false_positive + false_negative
            ),
        }

    def _instance_scores(
        self, test: NDArray[np.bool_], instances: NDArray[Any]
    ) -> dict[str, float]:
        """Connected components of the segmentation against instances, on their foreground."""
        components, _ = ndimage.label(test, np.ones((3,) * test.ndim))
        judged = self._known & (instances != 0)
        split, merge = variation_of_information(components[judged], instances[judged])
        return {
            "instance_voi_split": split,
            "instance_voi_merge": merge,
            "instance_voi": split + merge,
        }


_DISTANCE_CRITERIA = (
    "false_negative_rate_with_tolerance",
    "false_positive_rate_with_tolerance",
    "mean_false_distance",
    "mean_false_negative_distance",
    "mean_false_positive_distance",
    "mean_false_distance_clipped",
    "mean_false_negative_distance_clipped",
    "mean_false_positive_distance_clipped",
    "precision_with_tolerance",
    "recall_with_tolerance",
    "f1_score_with_tolerance",
)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else NAN

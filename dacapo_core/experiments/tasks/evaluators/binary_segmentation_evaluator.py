"""How well a binary segmentation agrees with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from dacapo_core.experiments.tasks.evaluators.criteria import BINARY_CRITERIA
from dacapo_core.experiments.tasks.evaluators.variation_of_information import (
    entropy,
    variation_of_information,
)
from dacapo_core.validation.counts import Counts, count_above
from dacapo_core.validation.distance_transform import distance_to

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
        device: where predictions are judged. Connected components are found on the CPU.
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
        device: torch.device | str = "cpu",
    ) -> None:
        if len(voxel_size) != truth.ndim:
            raise ValueError(f"voxel size {tuple(voxel_size)} is not of {truth.ndim} axes")
        self._known = torch.from_numpy(
            np.ones(truth.shape, bool) if known is None else np.asarray(known != 0)
        ).to(device)
        self._truth = torch.from_numpy(np.asarray(truth != 0)).to(device) & self._known
        self._voxel_size = tuple(float(size) for size in voxel_size)
        self._clip_distance = clip_distance
        self._tol_distance = tol_distance
        self._instances = instances

    @cached_property
    def has_foreground(self) -> bool:
        """There is something to find."""
        return bool(self._truth.any())

    @cached_property
    def has_known(self) -> bool:
        """The ground truth says anything at all."""
        return bool(self._known.any())

    @cached_property
    def _distance_to_truth(self) -> Tensor:
        return distance_to(self._truth, self._voxel_size)

    def evaluate(self, segmentation: NDArray[Any]) -> dict[str, float]:
        """Every criterion of `segmentation`, nonzero is foreground, by name.

        Raises:
            ValueError: it has another shape than the truth.
        """
        found = torch.from_numpy(np.asarray(segmentation != 0, np.float32))
        return self.evaluate_above(found.to(self._truth.device), [0.0])[0]

    def evaluate_above(
        self,
        prediction: Tensor,
        thresholds: Sequence[float],
        counts: Sequence[Counts] | None = None,
    ) -> list[dict[str, float]]:
        """Every criterion of ``prediction > threshold``, by name, for each of `thresholds`.

        Args:
            prediction: floating point, on the evaluator's device.
            counts: for each of `thresholds`, where they have been counted already.

        Raises:
            ValueError: it has another shape than the truth.
        """
        if prediction.shape != self._truth.shape:
            raise ValueError(
                f"segmentation of shape {tuple(prediction.shape)}, truth of shape "
                f"{tuple(self._truth.shape)}"
            )
        if counts is None:
            counts = count_above(prediction, thresholds, self._truth, self._known)
        found = []
        for threshold, counted in zip(thresholds, counts, strict=True):
            test = (prediction > threshold) & self._known
            scores = {**_overlap(counted), **self._distances(test, counted)}
            if self._instances is not None:
                scores |= self._instance_scores(test.cpu().numpy(), self._instances)
            found.append(scores)
        return found

    def _distances(self, test: Tensor, counts: Counts) -> dict[str, float]:
        positive = counts.true_positive + counts.false_negative
        found = counts.true_positive + counts.false_positive
        if not (positive and found):
            neither = not positive and not found
            unmeasured = {name: NAN for name in BINARY_CRITERIA if name not in _overlap(counts)}
            return {**unmeasured, "hausdorff": 0.0 if neither and self.has_known else NAN}
        of_found: Any = self._distance_to_truth[test]
        of_true: Any = distance_to(test, self._voxel_size)[self._truth]
        if test.device.type == "cpu":
            # numpy sums with smaller rounding errors
            of_found, of_true = of_found.numpy(), of_true.numpy()
        false_positive = int((of_found > self._tol_distance).sum())
        false_negative = int((of_true > self._tol_distance).sum())
        true_positive = positive + counts.false_positive - false_positive - false_negative
        negative = counts.false_positive + counts.true_negative
        positive_distance, negative_distance = float(of_found.mean()), float(of_true.mean())
        clipped_positive = float(of_found.clip(None, self._clip_distance).mean())
        clipped_negative = float(of_true.clip(None, self._clip_distance).mean())
        return {
            "hausdorff": max(float(of_found.max()), float(of_true.max())),
            "false_negative_rate_with_tolerance": _share(false_negative, positive),
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
        judged = self._known.cpu().numpy() & (instances != 0)
        split, merge = variation_of_information(components[judged], instances[judged])
        return {
            "instance_voi_split": split,
            "instance_voi_merge": merge,
            "instance_voi": split + merge,
        }


def _overlap(counts: Counts) -> dict[str, float]:
    true_positive, false_positive, false_negative, true_negative = counts
    positive = true_positive + false_negative
    found = true_positive + false_positive
    f1 = _share(2 * true_positive, positive + found)
    voi = NAN
    if positive and found:
        voi = 2 * entropy(np.array(counts))
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


def _share(part: int, whole: int) -> float:
    return part / whole if whole else NAN

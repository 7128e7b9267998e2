"""The criteria against volumes worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dacapo_core.experiments.tasks.evaluators import (
    BINARY_CRITERIA,
    bounds,
    higher_is_better,
    store_best,
)
from dacapo_core.experiments.tasks.evaluators.binary_segmentation_evaluator import (
    BinarySegmentationEvaluator,
)
from dacapo_core.experiments.tasks.evaluators.variation_of_information import (
    variation_of_information,
)


def row(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(1, 1, -1)


def test_a_row_worked_out_by_hand() -> None:
    """Two of three found right, one missed, one false: distances along x in steps of 10 nm."""
    truth = row(0, 1, 1, 1, 0, 0, 0, 0, 0, 0)
    found = row(0, 0, 1, 1, 0, 0, 0, 0, 0, 1)
    scores = BinarySegmentationEvaluator(
        truth, (99, 99, 10), clip_distance=25, tol_distance=15
    ).evaluate(found)
    # the false voxel is 60 nm from the truth, the missed one 10 nm from the prediction
    expected = {
        "dice": 4 / 6,
        "jaccard": 2 / 4,
        "hausdorff": 60,
        "false_negative_rate": 1 / 3,
        "false_negative_rate_with_tolerance": 0,
        "false_positive_rate": 1 / 7,
        "false_discovery_rate": 1 / 3,
        "false_positive_rate_with_tolerance": 1 / 7,
        "mean_false_positive_distance": 60 / 3,
        "mean_false_negative_distance": 10 / 3,
        "mean_false_distance": (60 / 3 + 10 / 3) / 2,
        "mean_false_positive_distance_clipped": 25 / 3,
        "mean_false_negative_distance_clipped": 10 / 3,
        "mean_false_distance_clipped": (25 / 3 + 10 / 3) / 2,
        # of the four voxels that are true or found, one is false beyond tolerance
        "precision_with_tolerance": 3 / 4,
        "recall_with_tolerance": 1,
        "f1_score_with_tolerance": 6 / 7,
        "precision": 2 / 3,
        "recall": 2 / 3,
        "f1_score": 2 / 3,
    }
    # joint shares .2 .1 .1 .6, margins .3 .7 on both sides
    joint = -sum(p * math.log2(p) for p in (0.2, 0.1, 0.1, 0.6))
    margin = -sum(p * math.log2(p) for p in (0.3, 0.7))
    expected["voi"] = 2 * (joint - margin)
    assert scores == pytest.approx(expected)
    assert set(scores) == set(BINARY_CRITERIA)


def test_precision_where_simpleitk_misleads_dacapo() -> None:
    """Four true voxels, six found, all four among them: precision is 4/6."""
    truth = np.zeros((2, 4, 4), np.uint8)
    truth[0, 0] = 1
    found = truth.copy()
    found[1, 0, :2] = 1
    scores = BinarySegmentationEvaluator(truth, (1, 1, 1)).evaluate(found)
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["false_discovery_rate"] == pytest.approx(1 / 3)
    assert scores["f1_score"] == pytest.approx(0.8)


def test_voxel_sizes_are_z_y_x() -> None:
    truth = np.zeros((5, 5, 5), np.uint8)
    truth[0, 0, 0] = 1
    found = np.zeros_like(truth)
    found[3, 0, 0] = 1
    evaluator = BinarySegmentationEvaluator(truth, (40, 4, 4))
    assert evaluator.evaluate(found)["hausdorff"] == 120
    found[:] = 0
    found[0, 3, 4] = 1
    assert evaluator.evaluate(found)["hausdorff"] == 20


def test_what_is_unknown_counts_for_nothing() -> None:
    truth = row(1, 1, 0, 0, 1, 0)
    found = row(1, 0, 0, 1, 0, 1)
    known = row(1, 1, 1, 1, 0, 0)
    inside = BinarySegmentationEvaluator(truth, (1, 1, 1), known=known).evaluate(found)
    cut = BinarySegmentationEvaluator(truth[..., :4], (1, 1, 1)).evaluate(found[..., :4])
    assert inside == pytest.approx(cut)


def test_nothing_to_find_and_nothing_found() -> None:
    nothing, something = row(0, 0, 0), row(0, 1, 0)
    both = BinarySegmentationEvaluator(nothing, (1, 1, 1)).evaluate(nothing)
    assert math.isnan(both["dice"])
    assert both["hausdorff"] == 0
    missed = BinarySegmentationEvaluator(something, (1, 1, 1)).evaluate(nothing)
    assert (missed["dice"], missed["recall"], missed["f1_score"]) == (0, 0, 0)
    # an empty prediction must never be the best by a distance or by information
    for name in ("voi", "hausdorff", "mean_false_distance", "precision"):
        assert math.isnan(missed[name]), name
    false = BinarySegmentationEvaluator(nothing, (1, 1, 1)).evaluate(something)
    assert false["dice"] == 0
    assert math.isnan(false["recall"])
    unknown = BinarySegmentationEvaluator(something, (1, 1, 1), known=nothing).evaluate(something)
    assert all(math.isnan(score) for score in unknown.values())


def test_instances() -> None:
    truth = row(1, 1, 1, 1, 0, 2, 2, 2, 2)
    whole = BinarySegmentationEvaluator(truth, (1, 1, 1), instances=truth)
    assert whole.evaluate(truth)["instance_voi"] == 0
    merged = whole.evaluate(row(1, 1, 1, 1, 1, 1, 1, 1, 1))
    # one component of two equal bodies: one bit is lost, nothing is split
    assert merged["instance_voi_merge"] == pytest.approx(1)
    assert merged["instance_voi_split"] == 0
    gap = whole.evaluate(row(1, 1, 0, 1, 0, 1, 1, 1, 1))
    assert gap["instance_voi_split"] > 0


def test_variation_of_information_of_a_known_table() -> None:
    truth = np.repeat([1, 2], 4)
    split, merge = variation_of_information(np.array([1, 1, 2, 2, 3, 3, 3, 3]), truth)
    assert (split, merge) == (pytest.approx(0.5), 0)
    # independent of each other: a bit either way
    assert variation_of_information(np.array([5, 6] * 4), truth) == pytest.approx((1, 1))


masks = arrays(np.bool_, (3, 4, 5))


@settings(max_examples=60, deadline=None)
@given(truth=masks, found=masks, size=st.tuples(*[st.sampled_from([1.0, 4.0, 45.0])] * 3))
def test_laws(truth: np.ndarray, found: np.ndarray, size: tuple[float, float, float]) -> None:
    scores = BinarySegmentationEvaluator(truth, size).evaluate(found)
    for name, score in scores.items():
        low, high = bounds(name)
        limit = 2 if name == "voi" else high
        assert math.isnan(score) or score >= low
        assert math.isnan(score) or math.isnan(limit) or score <= limit + 1e-9
    turned = BinarySegmentationEvaluator(found, size).evaluate(truth)
    for name in ("dice", "jaccard", "hausdorff", "voi", "mean_false_distance"):
        assert scores[name] == pytest.approx(turned[name], nan_ok=True)
    if truth.any():
        perfect = BinarySegmentationEvaluator(truth, size).evaluate(truth)
        for name, score in perfect.items():
            best = 1.0 if higher_is_better(name) else 0.0
            # a volume that is all foreground has no negatives to be wrong about
            assert score == pytest.approx(best, abs=1e-12) or (truth.all() and math.isnan(score))


def test_names_and_directions_are_dacapos() -> None:
    higher = {name for name in BINARY_CRITERIA if higher_is_better(name)}
    tolerant = {f"{name}_with_tolerance" for name in ("precision", "recall", "f1_score")}
    assert higher == {"dice", "jaccard", "precision", "recall", "f1_score"} | tolerant
    assert {name for name in BINARY_CRITERIA if store_best(name)} == {"voi", "f1_score"}
    assert higher_is_better("mito_mem__f1_score")
    assert bounds("mito__dice") == (0, 1)
    assert math.isnan(bounds("hausdorff")[1])
    with pytest.raises(ValueError, match="no criterion 'accuracy'; there are dice"):
        higher_is_better("accuracy")

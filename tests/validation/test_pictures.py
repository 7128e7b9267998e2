"""Pictures of a run."""

from __future__ import annotations

import io
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dacapo_core.experiments.datasplits import SyntheticDataSplitConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import NumpyArray
from dacapo_core.experiments.datasplits.datasets.labels import GroupedLabels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.validation.pictures import curves_picture, slice_picture, slices

LOSSES = [(i, 1 / (i + 1)) for i in range(100)]


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


def test_curves_mark_the_best_and_are_small() -> None:
    scores = {"held_out/f1_score": [(0, 0.1), (50, 0.8), (100, 0.7)]}
    plain = curves_picture(LOSSES, scores)
    starred = curves_picture(LOSSES, scores, {"held_out/f1_score": 50})
    changed = np.argwhere(np.abs(pixels(starred) - pixels(plain)).max(-1) > 60)
    # the star is one small mark in the right half
    assert len(changed) > 20
    assert np.ptp(changed, axis=0).max() < 40
    assert changed[:, 1].min() > pixels(plain).shape[1] / 2
    assert len(starred) < 40_000


def test_curves_stand_gaps_and_nothing_at_all() -> None:
    holes = [(0, math.nan), (1, 0.5), (2, math.inf)]
    assert pixels(curves_picture(holes, {"a": holes, "b": []}, {"a": 9})).std() > 0
    assert pixels(curves_picture([], {})).std() > 0


def test_a_slice_shows_raw_truth_and_prediction() -> None:
    dataset = SyntheticDataSplitConfig(shape=(24, 32, 32)).build().validate[0]
    truth, _ = dataset.read_labels((0, 0, 0), (24, 32, 32), ["mito", "pm"])
    good = slice_picture(dataset, ["mito", "pm"], truth.astype(np.float32))
    bad = slice_picture(dataset, ["mito", "pm"], np.zeros(truth.shape, np.float32))
    assert len(good) < 100_000
    height = pixels(good).shape[0]
    changed = np.argwhere(np.abs(pixels(good) - pixels(bad)).max(-1) > 60)
    # only the row of predictions differs
    assert changed[:, 0].min() > height / 2
    assert slice_picture(dataset, ["mito", "pm"], truth.astype(np.float32)) == good


def test_the_slice_shown_is_the_one_with_most_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.zeros((9, 12, 12), np.uint8)
    ids[1, :6] = 1
    ids[4:6, :2, :2] = 1
    ids[4:6, 4:8] = 2
    ids[7, :, :] = 2
    raw = NumpyArray("em", np.zeros(ids.shape, np.float32), (8.0,) * 3)
    labels = GroupedLabels(NumpyArray("ids", ids, (8.0,) * 3), {"a": [1], "b": [2]}, [0], [])
    dataset = RawGTDataset("v", raw, labels)
    for sections in (64, 2):
        monkeypatch.setattr(slices, "SECTIONS_AT_ONCE", sections)
        assert slices.busiest_slice(dataset, ["a", "b"]) == 4, "both, and of equals the first"
        assert slices.busiest_slice(dataset, ["b"]) == 7


def test_large_volumes_make_no_larger_pictures() -> None:
    dataset = SyntheticDataSplitConfig(shape=(16, 300, 400), num_train=1).build().validate[0]
    truth, _ = dataset.read_labels((0, 0, 0), (16, 300, 400), ["pm"])
    assert len(slice_picture(dataset, ["pm"], truth.astype(np.float32))) < 150_000


def test_matplotlib_is_imported_only_to_draw() -> None:
    code = (
        "import sys, dacapo_core.validation.pictures as p; before = 'matplotlib' in sys.modules;"
        "p.curves_picture([(0, 1.0)], {}); print(before, 'matplotlib.pyplot' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False False"

"""TensorBoard reads what it is given, also after a crash."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dacapo_core.training.training_stats import TrainingIterationStats, TrainingStats


def stats(*iterations: int) -> TrainingStats:
    return TrainingStats(
        1, [TrainingIterationStats(i, 1 / i, 1.0, 0.01, 0.1, False) for i in iterations]
    )


def picture() -> bytes:
    png = BytesIO()
    Image.new("RGB", (4, 2), (255, 0, 0)).save(png, format="png")
    return png.getvalue()


def shown(folder: Path) -> Any:
    """What TensorBoard makes of the files."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is not installed: pip install '.[tensorboard]'",
    )
    return accumulator.EventAccumulator(str(folder)).Reload()


@pytest.mark.slow
def test_tensorboard_shows_loss_scores_and_slices_once_also_after_a_crash(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from dacapo_core.training.tensorboard import EventFiles

    first = EventFiles(tmp_path, "run", 0, {})
    first.update(stats(1, 2), {2: {"val/dice": 0.5}}, {(2, "val"): picture()})
    first.update(stats(1, 2, 3, 4), {2: {"val/dice": 0.5}, 4: {"val/dice": 0.7}}, {})
    first.close()
    # the next process has the checkpoint of iteration 2
    again = EventFiles(tmp_path, "run", 2, {2: {"val/dice": 0.5}})
    again.update(stats(1, 2, 3), {2: {"val/dice": 0.5}, 3: {"val/dice": 0.6}}, {})
    again.close()

    found = shown(tmp_path / "run")
    losses = [(each.step, each.value) for each in found.Scalars("training/loss")]
    assert losses == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    scores = [(each.step, each.value) for each in found.Scalars("val/dice")]
    assert scores == [(2, 0.5), (3, pytest.approx(0.6))]
    (image,) = found.Images("val/slice")
    assert (image.step, image.width, image.height) == (2, 4, 2)


def test_without_tensorboard_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    from dacapo_core.training.tensorboard import EventFiles

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'dacapo-core\[tensorboard\]'"):
        EventFiles(tmp_path, "run", 0, {})
    assert list(tmp_path.iterdir()) == []

"""TensorBoard's event files of a run: loss, learning rate, scores, a slice of each validation."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from io import BytesIO
from math import isfinite
from pathlib import Path

import numpy as np

from dacapo_core.training.training_stats import TrainingStats


class EventFiles:
    """What `tensorboard --logdir <folder>` shows of a run, kept up to date.

    The store keeps the same facts; these are a copy for those who look at them with TensorBoard.
    """

    def __init__(
        self,
        folder: str | Path,
        run: str,
        iteration: int,
        scores: Mapping[int, Mapping[str, float]],
    ) -> None:
        """
        Args:
            folder: of all runs; this one has a folder of its own in it.
            iteration: where the run continues; what an earlier process wrote past it is void.
            scores: those that are on record already, by iteration; they are not written again.

        Raises:
            ValueError: TensorBoard is not installed.
        """
        if importlib.util.find_spec("tensorboard") is None:
            raise ValueError(
                f"event files are wanted in {str(folder)!r} (DACAPO_TENSORBOARD_DIR), and "
                "TensorBoard is not installed: pip install 'dacapo-core[tensorboard]', or unset it"
            )
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(Path(folder) / run), purge_step=iteration + 1)
        self._written = iteration
        self._scored = {(at, name) for at, found in scores.items() for name in found}
        self._pictured: set[tuple[int, str]] = set()

    def update(
        self,
        stats: TrainingStats,
        scores: Mapping[int, Mapping[str, float]],
        pictures: Mapping[tuple[int, str], bytes],
    ) -> None:
        """Write what is new.

        Args:
            scores: iteration → ``<dataset>/<criterion>`` → score.
            pictures: (iteration, dataset) → PNG.
        """
        for each in stats.after(self._written).iteration_stats:
            if isfinite(each.loss):
                self._writer.add_scalar("training/loss", each.loss, each.iteration)
            self._writer.add_scalar("training/learning_rate", each.learning_rate, each.iteration)
            if each.time:
                share = each.waiting / each.time
                self._writer.add_scalar("training/waiting_for_data", share, each.iteration)
            self._written = each.iteration
        for iteration, found in sorted(scores.items()):
            for name, score in found.items():
                if (iteration, name) not in self._scored:
                    self._writer.add_scalar(name, score, iteration)
                    self._scored.add((iteration, name))
        for (iteration, dataset), png in sorted(pictures.items()):
            if (iteration, dataset) not in self._pictured:
                self._writer.add_image(f"{dataset}/slice", _pixels(png), iteration)
                self._pictured.add((iteration, dataset))
        self._writer.flush()

    def close(self) -> None:
        """Write out what is left."""
        self._writer.close()


def _pixels(png: bytes) -> np.ndarray:
    """``(3, height, width)``."""
    from PIL import Image

    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).transpose(2, 0, 1)

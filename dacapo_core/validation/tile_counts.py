"""Right and wrong voxels of a volume, counted by each process in the tiles that it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.training.processes import Processes
from dacapo_core.validation.counts import Counts, count_above
from dacapo_core.validation.prefetch import prefetched
from dacapo_core.validation.tiling import Tile


class TileCounts:
    """Counts, tile by tile, what `count_above` counts of a whole volume.

    The ground truth of a tile alone is read, while the network predicts. Close it at the end.

    Args:
        tiles: of this process, in the order in which it predicts them.
        channels: of the prediction, in order. Those that the volume does not label are left out.
        device: where the predictions are.
    """

    def __init__(
        self,
        dataset: RawGTDataset,
        tiles: Sequence[Tile],
        channels: Sequence[str],
        thresholds: Sequence[float],
        device: torch.device,
    ) -> None:
        self._dataset = dataset
        self._channels = {
            name: index for index, name in enumerate(channels) if name in dataset.channels
        }
        self._thresholds = thresholds
        self._truths = prefetched(self._read, tiles, device)
        self._counts = {name: [Counts(0, 0, 0, 0)] * len(thresholds) for name in self._channels}
        self._error: Exception | None = None

    def add(self, prediction: Tensor) -> None:
        """Count in the next tile.

        Args:
            prediction: ``(channels, z, y, x)``, of the part of the tile that is kept.
        """
        if self._error is not None:
            return
        try:
            truth = next(self._truths)
        except Exception as error:
            # said in `total`: the other processes wait for this one's predictions
            self._error = error
            return
        for row, (name, index) in enumerate(self._channels.items()):
            found = count_above(prediction[index], self._thresholds, truth[0, row], truth[1, row])
            self._counts[name] = _sums(self._counts[name], found)

    def total(self, processes: Processes) -> dict[str, list[Counts]]:
        """Channel → for each threshold the counts of the whole volume. All processes call it.

        Raises:
            ArrayError: the ground truth cannot be used; of any of the processes, in all of them.
        """
        processes.agree(error=self._error)
        first, *others = processes.gather(self._counts)
        for other in others:
            first = {name: _sums(counts, other[name]) for name, counts in first.items()}
        return dict(first)

    def close(self) -> None:
        """Read no further."""
        self._truths.close()

    def _read(self, tile: Tile) -> NDArray[Any]:
        """Foreground and what is known of a tile, ``(2, channels, z, y, x)``."""
        places = list(zip(self._dataset.begin, tile.target, strict=True))
        begin = [first + part.start for first, part in places]
        end = [first + part.stop for first, part in places]
        return np.stack(self._dataset.read_labels(begin, end, list(self._channels)))


def _sums(first: Sequence[Counts], second: Sequence[Counts]) -> list[Counts]:
    return [
        Counts(*(a + b for a, b in zip(*each, strict=True)))
        for each in zip(first, second, strict=True)
    ]

"""The ground truth of a held-out volume, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset


class ChannelTruth(NamedTuple):
    """Of one channel, each ``(z, y, x)``.

    Attributes:
        foreground: where the channel is.
        known: where that is known.
        instances: ids, 0 is background; None without instances.
    """

    foreground: NDArray[np.bool_]
    known: NDArray[np.bool_]
    instances: NDArray[Any] | None


def read_truth(dataset: RawGTDataset, channels: Sequence[str]) -> dict[str, ChannelTruth]:
    """The ground truth of the volume's labelled box, for each of `channels` that it labels.

    Raises:
        ArrayError: its ground truth cannot be used.
    """
    labelled = [channel for channel in channels if channel in dataset.channels]
    truth, known = dataset.read_labels(dataset.begin, dataset.end, labelled)
    return {
        channel: ChannelTruth(
            truth[index],
            known[index],
            dataset.read_instances(channel, dataset.begin, dataset.end),
        )
        for index, channel in enumerate(labelled)
    }

"""A slice of a validation: raw data, truth and prediction of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dacapo_core.data.boxes import Box
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.validation.pictures.figure import new_figure, png

MOST_PIXELS = 256
# whole chunks are read once, and no more of a volume than this is in memory
SECTIONS_AT_ONCE = 64


def slice_picture(
    dataset: RawGTDataset,
    channels: Sequence[str],
    prediction: Tensor | NDArray[Any],
    value_range: tuple[float, float] | None = None,
) -> bytes:
    """Raw data, and for each channel truth above prediction, of the slice with most foreground.

    Args:
        dataset: the volume.
        channels: of `prediction`, in order.
        prediction: ``(channels, z, y, x)`` of the volume's labelled box; see
            ``dacapo_core.validation.scoring.predict``.
        value_range: prediction values drawn black and white. Default: -1 and 1 for signed
            predictions such as distances, else 0 and 1.

    Returns:
        a PNG of at most 256 pixels of the volume along each side.
    """
    z = busiest_slice(dataset, channels)
    (_, top, left), (_, bottom, right) = dataset.box
    begin = (z, top, left)
    end = (z + 1, min(top + MOST_PIXELS, bottom), min(left + MOST_PIXELS, right))
    truth, known = dataset.read_labels(begin, end, channels)
    raw = dataset.read_raw(*dataset.raw_box_of(Box.of(begin, end)))[0]
    height, width = truth.shape[2:]
    figure = new_figure(0.2 + 1.9 * (len(channels) + 1), 4.0 * min(1.5, height / width) + 0.3)
    axes = figure.subplots(2, len(channels) + 1, squeeze=False)
    for panel in axes.flat:
        panel.set_axis_off()
    axes[0, 0].imshow(raw, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes[0, 0].set_title(f"raw, z = {z - dataset.begin[0]}", fontsize=8)
    low, high = value_range or (-1.0 if prediction.min() < 0 else 0.0, 1.0)
    for index, channel in enumerate(channels):
        shown = np.where(known[index, 0], truth[index, 0].astype(float), 0.5)
        axes[0, index + 1].imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes[0, index + 1].set_title(f"{channel}: truth", fontsize=8)
        predicted = torch.as_tensor(prediction[index, z - dataset.begin[0], :height, :width])
        axes[1, index + 1].imshow(
            predicted.numpy(force=True), cmap="gray", vmin=low, vmax=high, interpolation="nearest"
        )
        axes[1, index + 1].set_title(f"{channel}: prediction", fontsize=8)
    return png(figure)


def busiest_slice(dataset: RawGTDataset, channels: Sequence[str]) -> int:
    """The section with most channels present, and among those most foreground; label voxels."""
    counts = np.concatenate(
        [
            dataset.read_labels(
                (z, *dataset.begin[1:]),
                (min(z + SECTIONS_AT_ONCE, dataset.end[0]), *dataset.end[1:]),
                channels,
            )[0].sum((2, 3))
            for z in range(dataset.begin[0], dataset.end[0], SECTIONS_AT_ONCE)
        ],
        axis=1,
    )
    # of equals the first
    present, foreground = (counts > 0).sum(0), counts.sum(0)
    return dataset.begin[0] + int(np.lexsort((-foreground, -present))[0])

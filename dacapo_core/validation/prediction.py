"""A volume of any size, predicted tile by tile where the network is."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import closing

import torch
from torch import Tensor

from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.experiments.datasplits.patch_grid import PatchGrid
from dacapo_core.validation.read_ahead import read_ahead
from dacapo_core.validation.tiling import tiles

Predict = Callable[[Tensor], Tensor]
"""Raw data of one input shape ``(z, y, x)`` → prediction ``(channels, z, y, x)`` of its output."""

SHARE_OF_FREE_MEMORY = 0.8
# of each voxel: one channel's distances while they are measured
JUDGING_BYTES = 48

logger = logging.getLogger(__name__)


def predict_volume(
    dataset: RawGTDataset,
    grid: PatchGrid,
    margin: Sequence[int],
    predict: Predict,
    device: torch.device,
) -> Tensor:
    """The prediction ``(channels, z, y, x)`` of a volume's labelled box.

    It lies on `device` if there is room to judge it there, else in host memory. Beyond the raw
    data its mirror image serves as context.

    Args:
        grid, margin: see ``evaluation_grid``.
        predict: takes and gives tensors on `device`.

    Raises:
        ArrayError: the raw data cannot be used.
    """
    plan = tiles(grid, margin, dataset.begin, dataset.end)
    shape = [e - b for b, e in zip(dataset.begin, dataset.end, strict=True)]
    whole: Tensor | None = None
    boxes = (tile.input_box for tile in plan)
    with closing(read_ahead(lambda box: dataset.read_raw(*box), boxes, device)) as blocks:
        for tile, raw in zip(plan, blocks, strict=True):
            output = predict(raw)
            if whole is None:
                place = _place(dataset.name, output, shape)
                whole = torch.empty((output.shape[0], *shape), dtype=output.dtype, device=place)
            whole[(slice(None), *tile.target)] = output[(slice(None), *tile.source)].to(
                whole.device
            )
    assert whole is not None
    return whole


def _place(name: str, output: Tensor, shape: Sequence[int]) -> torch.device:
    """Where a prediction of `shape` is kept and judged."""
    device = output.device
    if device.type != "cuda":
        return device
    free = torch.cuda.mem_get_info(device)[0]
    # what torch holds and does not use is free too
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    # prediction, truth and what is known of each channel
    needed = math.prod(shape) * (output.shape[0] * (output.element_size() + 2) + JUDGING_BYTES)
    if needed <= SHARE_OF_FREE_MEMORY * free:
        return device
    logger.warning(
        "volume %r is judged on the CPU: that needs %.1f GB, and %s has %.1f GB free",
        name,
        needed / 1e9,
        device,
        free / 1e9,
    )
    return torch.device("cpu")

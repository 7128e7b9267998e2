"""A volume of any size, predicted tile by tile where the network is."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import torch
import torch.distributed as dist
from torch import Tensor

from dacapo_core.data.patch_grid import PatchGrid
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.training.processes import ALONE, Processes
from dacapo_core.validation.prefetch import prefetched
from dacapo_core.validation.tiling import Tile, tiles

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
    processes: Processes = ALONE,
    *,
    at_once: bool = False,
    on_tile: Callable[[Tensor], None] = lambda _: None,
) -> Tensor | None:
    """The prediction ``(channels, z, y, x)`` of a volume's labelled box.

    It lies on `device` if there is room to judge it there, else in host memory. Beyond the raw
    data its mirror image serves as context.

    Several processes take the tiles in turn, see `own_tiles`, and rank 0 gathers them; the others
    get None.

    Args:
        grid, margin: see ``evaluation_grid``.
        predict: takes and gives tensors on `device`.
        at_once: all processes must predict at once; one that has no tile left predicts another's.
        on_tile: is given what is kept of each tile of this process.

    Raises:
        ArrayError: the raw data cannot be used; of any of the processes, in all of them.
    """
    plan = tiles(grid, margin, dataset.begin, dataset.end)
    shape = dataset.box.shape
    whole: Tensor | None = None
    rank, size = processes.rank, processes.size
    own = own_tiles(plan, processes)
    if at_once and len(own) < len(plan[::size]):
        own = [*own, plan[-1]]
    boxes = (tile.input_box for tile in own)
    with closing(prefetched(lambda box: dataset.read_raw(*box), boxes, device)) as blocks:
        for first in range(0, len(plan), size):
            turn = plan[first : first + size]
            raw = _next(blocks, processes, among=size if at_once else len(turn))
            output = None
            if raw is not None:
                predicted = predict(raw)
                if rank < len(turn):
                    output = predicted[(slice(None), *turn[rank].source)]
                    on_tile(output)
            if rank > 0:
                if output is not None:
                    dist.send(output.contiguous(), dst=0)
                continue
            assert output is not None
            if whole is None:
                place = _place(dataset.name, output, shape)
                whole = output.new_empty((output.shape[0], *shape), device=place)
            for sender, tile in enumerate(turn):
                into = whole[(slice(None), *tile.target)]
                if sender > 0:
                    output = output.new_empty(into.shape)
                    dist.recv(output, src=sender)
                into.copy_(output)
    return whole


def own_tiles(plan: Sequence[Tile], processes: Processes) -> Sequence[Tile]:
    """The tiles that this process predicts."""
    return plan[processes.rank :: processes.size]


def _next(blocks: Iterator[Tensor], processes: Processes, among: int) -> Tensor | None:
    """This process's block, if it is `among` those that have one; all know if one cannot read."""
    return processes.agreed(lambda: next(blocks) if processes.rank < among else None)


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

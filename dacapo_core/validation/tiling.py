"""How a volume of any size is covered by tiles. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dacapo_core.data.boxes import Box, Voxels, as_voxels
from dacapo_core.data.patch_grid import PatchGrid
from dacapo_core.experiments.architectures import ArchitectureConfig

MOST_VOXELS = 128**3


def evaluation_grid(
    config: ArchitectureConfig, extent: Sequence[int], most_voxels: int = MOST_VOXELS
) -> tuple[PatchGrid, Voxels]:
    """Tiles for a box of `extent` label voxels, and the margin of their outputs to throw away.

    A network with valid padding takes its evaluation shape; its outputs have their context. One
    with same padding pads with zeros instead, so its tiles grow until they hold the box or
    `most_voxels`, and overlap by what the network sees around a voxel, three quarters at most.
    """
    shape = tuple(config.eval_input_shape)
    if config.padding == "valid":
        return PatchGrid.of(shape, config.output_shape(shape), config.upsampling), (0, 0, 0)
    missing = 3 - config.dims
    scale = config.upsampling
    wanted = [-(-size // s) for size, s in zip(extent[missing:], scale, strict=True)]
    shape = _grow(shape, wanted, config.input_shape_step, most_voxels)
    margin = [0] * missing
    for axis in range(config.dims):
        if shape[axis] >= wanted[axis]:
            margin.append((shape[axis] - wanted[axis]) // 2 * scale[axis])
            continue
        step = config.input_shape_step[axis]
        seen = -(-_reach(config, axis) // step) * step
        most = shape[axis] * 3 // 8 // step * step
        margin.append(min(seen, most) * scale[axis])
    return PatchGrid.of(shape, config.output_shape(shape), scale), as_voxels(margin)


def _grow(
    shape: tuple[int, ...], wanted: Sequence[int], steps: Sequence[int], most_voxels: int
) -> tuple[int, ...]:
    """`shape` plus whole steps, evenly along the axes, until it holds what is wanted."""
    grown, growing = list(shape), True
    while growing:
        growing = False
        for axis, step in enumerate(steps):
            voxels = math.prod(grown) // grown[axis] * (grown[axis] + step)
            if grown[axis] < wanted[axis] and voxels <= most_voxels:
                grown[axis] += step
                growing = True
    return tuple(grown)


def _reach(config: ArchitectureConfig, axis: int) -> int:
    """Raw voxels around an output voxel that it depends on, along one axis."""

    def halves(kernels: Sequence[tuple[int, ...]]) -> int:
        return sum(kernel[axis] // 2 for kernel in kernels)

    reach, factor = halves(config.kernels_down[0]), 1
    for level, down in enumerate(config.downsample_factors):
        reach += factor * halves(config.kernels_up[level])
        factor *= down[axis]
        # a pooled voxel stands for a whole block
        reach += factor - 1 + factor * halves(config.kernels_down[level + 1])
    return reach + halves(config.kernels_upsampled) * len(config.upsample_factors)


def tile_begins(
    grid: PatchGrid, begin: Sequence[int], end: Sequence[int]
) -> Iterator[tuple[int, ...]]:
    """First raw voxels of inputs whose outputs together cover the label voxels begin…end."""
    axes = []
    for axis in range(3):
        scale, context, size = grid.scale[axis], grid.context[axis], grid.output_shape[axis]
        first = (begin[axis] - context) // scale
        covered = first * scale + context + size
        # a tile begins at a whole raw voxel, so a step covers at least this much
        step = max(1, size // scale)
        starts = [first]
        while covered < end[axis]:
            starts.append(starts[-1] + step)
            covered += step * scale
        axes.append(starts)
    return itertools.product(*axes)


@dataclass(frozen=True)
class Tile:
    """One input of the network and the part of its output that is kept.

    Attributes:
        input_box: raw voxels.
        source: the kept part, within the output.
        target: where it goes, within the box that is predicted.
    """

    input_box: Box
    source: tuple[slice, ...]
    target: tuple[slice, ...]


def tiles(
    grid: PatchGrid, margin: Sequence[int], begin: Sequence[int], end: Sequence[int]
) -> list[Tile]:
    """Tiles whose kept outputs are the label voxels begin…end, each once.

    Args:
        grid: input and output of the network.
        margin: label voxels at each side of an output that are thrown away; 0 for a network
            with valid padding, whose outputs have their context already.
    """
    inner = PatchGrid(
        grid.input_shape,
        as_voxels([n - 2 * m for n, m in zip(grid.output_shape, margin, strict=True)]),
        grid.scale,
    )
    corners = list(tile_begins(inner, begin, end))
    firsts = [inner.output_box(corner)[0] for corner in corners]
    # where outputs overlap, the next one's is kept
    nexts = []
    for axis in range(3):
        places = sorted({first[axis] for first in firsts})
        nexts.append(dict(zip(places, [*places[1:], end[axis]], strict=True)))
    found = []
    for corner, first in zip(corners, firsts, strict=True):
        last = [following[f] for following, f in zip(nexts, first, strict=True)]
        kept = Box.of(first, last).intersection(Box.of(begin, end))
        if kept is not None:
            source = kept.seen_from(first).shifted(margin).slices
            found.append(Tile(grid.input_box(corner), source, kept.seen_from(begin).slices))
    return found

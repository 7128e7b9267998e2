"""Which axis of an array is z, y, x or its channels, and its voxel size and place. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dacapo_core.data.boxes import Voxels
from dacapo_core.data.volume_metadata import SPACE, VolumeMetadata
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError, Nanometres


@dataclass(frozen=True)
class VolumeAxes:
    """How an array becomes a volume.

    Attributes:
        order: the array's axes in the order (time, channels,) (z,) y, x.
        leading: sizes of those before z, y, x; one of them at most is larger than 1.
        flat: it has no axis z.
        shape: z, y, x, in voxels.
        voxel_size, offset: z, y, x, in nm.
    """

    order: tuple[int, ...]
    leading: tuple[int, ...]
    flat: bool
    shape: Voxels
    voxel_size: Nanometres
    offset: Nanometres


def volume_axes(name: str, shape: Sequence[int], metadata: VolumeMetadata) -> VolumeAxes:
    """The axes of the array `name`.

    Raises:
        ArrayError: they are no volume's, or its voxel size is not said.
    """
    axes = _named(metadata.axes, len(shape))
    space = [axes.index(each) for each in SPACE if each in axes]
    order = [axis for axis in range(len(shape)) if axis not in space]
    leading = [shape[axis] for axis in order]
    twice = any(axes.count(each) > 1 for each in SPACE)
    if len(space) < 2 or twice or sum(size > 1 for size in leading) > 1:
        raise ArrayError(
            f"{name} has shape {tuple(shape)}"
            + (f" and axes {', '.join(metadata.axes)}" if metadata.axes else "")
            + "; wanted are z, y, x and at most a channel axis"
        )
    flat = "z" not in axes
    if len(space) == 2 and not flat:
        raise ArrayError(f"{name} has axes {', '.join(axes)}; wanted are y and x, or z, y and x")
    z, y, x = [1] * (3 - len(space)) + [shape[axis] for axis in space]
    if metadata.voxel_size is None:
        raise ArrayError(
            f"{name} has no voxel_size in its attributes, nor in those of the groups around it; "
            "set voxel_size (in nm) by hand"
        )
    size = _of_space(name, "voxel_size", metadata.voxel_size, axes, space, 1.0)
    if not all(0 < each < math.inf for each in size):
        raise ArrayError(f"{name}: voxel_size {size} is not positive; set it by hand")
    offset = metadata.offset or (0.0,) * len(space)
    if not all(map(math.isfinite, offset)):
        raise ArrayError(f"{name}: offset {tuple(offset)} is not finite; set it by hand")
    return VolumeAxes(
        (*order, *space),
        tuple(leading),
        flat,
        (z, y, x),
        size,
        _of_space(name, "offset", offset, axes, space, 0.0),
    )


def _named(names: Sequence[str] | None, dims: int) -> list[str]:
    """A name for each axis; of those without, the last three are z, y, x."""
    if names is not None and len(names) == dims:
        # a channel axis is marked as c^ by DaCapo
        plain = [name.rstrip("^").lower() for name in names]
        if any(name in SPACE for name in plain):
            return plain
    missing = max(0, dims - 3)
    return [*("c" * missing), *SPACE[-min(dims, 3) :]] if dims else []


def _of_space(
    name: str,
    field: str,
    values: Sequence[float],
    axes: Sequence[str],
    space: Sequence[int],
    fill: float,
) -> Nanometres:
    """One value for each of z, y, x; of an image without depth z is filled in."""
    if len(values) == len(axes):
        # a channel axis may have been given a size too
        found = [values[axis] for axis in space]
    elif len(values) >= len(space):
        in_order = dict(zip(sorted(space), values[-len(space) :], strict=True))
        found = [in_order[axis] for axis in space]
    else:
        raise ArrayError(
            f"{name}: {field} {tuple(values)} has {len(values)} values, wanted {len(space)}"
        )
    z, y, x = [fill] * (3 - len(found)) + [float(value) for value in found]
    return (z, y, x)

"""Zarr arrays at a path or any fsspec URL."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import FsspecStore

from dacapo_core.experiments.datasplits.datasets.arrays.array import (
    Array,
    ArrayError,
    Nanometres,
    Voxels,
    box,
)
from dacapo_core.experiments.datasplits.datasets.arrays.array_metadata import (
    ArrayMetadata,
    read_metadata,
)
from dacapo_core.experiments.datasplits.datasets.arrays.zarr_array_config import ZarrArrayConfig

# smaller arrays are read once and kept: patches overlap, and chunks are dear to fetch again
KEPT_BYTES = 64 * 2**20


class ZarrArray(Array):
    """An opened zarr array; see ``ZarrArrayConfig``."""

    def __init__(self, name: str, array: zarr.Array[Any], metadata: ArrayMetadata) -> None:
        self.name = name
        self._array = array
        self.dtype = np.dtype(array.dtype)
        if self.dtype.kind not in "buif":
            raise ArrayError(f"{name} holds {self.dtype}, not numbers")
        leading, space = _split_axes(name, array.shape, metadata.axes)
        self._leading = leading
        self.num_channels = next((size for size in leading if size > 1), 1) if leading else None
        self._flat = len(space) == 2
        z, y, x = (1, *space) if self._flat else space
        self.shape = (z, y, x)
        self.voxel_size = _three(name, "voxel_size", metadata.voxel_size, self._flat, 1.0)
        self.offset = _three(name, "offset", metadata.offset or (0.0,) * len(space), self._flat, 0)
        self._kept: NDArray[Any] | None = None
        self._lock = threading.Lock()

    def read(self, begin: Voxels, end: Voxels) -> NDArray[Any]:
        if self._array.nbytes > KEPT_BYTES:
            return self._read(box(begin, end))
        with self._lock:
            if self._kept is None:
                self._kept = self._read(box((0, 0, 0), self.shape))
        return self._kept[(..., *box(begin, end))]

    def _read(self, where: tuple[Any, ...]) -> NDArray[Any]:
        try:
            data = np.asarray(self._array[(..., *(where[1:] if self._flat else where))])
        except (OSError, RuntimeError, ValueError) as error:
            raise ArrayError(f"{self.name} cannot be read: {error}") from error
        if self._flat:
            data = data[..., None, :, :]
        if not self._leading:
            return data
        return data.reshape(self.num_channels, *data.shape[len(self._leading) :])


def open_zarr(config: ZarrArrayConfig) -> ZarrArray:
    """The array of a configuration; see ``ZarrArrayConfig.array``."""
    name = config.url
    array = _open(config)
    path = PurePosixPath(config.dataset.strip("/") or PurePosixPath(name).name)
    try:
        metadata = read_metadata(dict(array.attrs))
        if metadata.voxel_size is None and config.voxel_size is None:
            group, inside = _group_around(config, name, path)
            metadata = read_metadata(dict(array.attrs), group, inside)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArrayError(f"{name}: attributes that cannot be understood: {error}") from error
    return ZarrArray(
        name,
        array,
        ArrayMetadata(
            axes=metadata.axes or _dimension_names(array),
            voxel_size=config.voxel_size or metadata.voxel_size,
            offset=config.offset or metadata.offset,
        ),
    )


def _open(config: ZarrArrayConfig) -> zarr.Array[Any]:
    name = config.url
    try:
        found = zarr.open(store=_store(name, config.storage_options), mode="r")
    except FileNotFoundError as error:
        if _is_n5(name, config.storage_options):
            raise ArrayError(
                f"{name} is N5, which zarr 3 does not read; convert it to zarr once, for example "
                "with tensorstore or with zarr 2's N5Store"
            ) from error
        raise FileNotFoundError(
            f"there is no zarr array at {name}; check file_name and dataset"
        ) from error
    except ArrayError:
        raise
    except Exception as error:
        # each file system and codec fails in its own way
        raise ArrayError(f"{name} cannot be opened: {type(error).__name__}: {error}") from error
    if isinstance(found, zarr.Group):
        raise ArrayError(
            f"{name} is a group, not an array; give the path of an array in it"
            + _arrays_within(found)
        )
    return found


def _store(url: str, storage_options: dict[str, Any]) -> str | FsspecStore:
    if "://" not in url and not storage_options:
        return url
    try:
        return FsspecStore.from_url(url, storage_options=storage_options or None, read_only=True)
    except (ImportError, ValueError) as error:
        raise ArrayError(f"{url} cannot be opened: {error}") from error


def _arrays_within(group: zarr.Group) -> str:
    try:
        names = sorted(name for name, _ in group.arrays())
    except Exception:
        # an http server lists nothing
        return ""
    return f": {', '.join(names)}" if names else ""


def _group_around(
    config: ZarrArrayConfig, url: str, path: PurePosixPath
) -> tuple[Mapping[str, Any], str]:
    """Attributes of the nearest group above the array that is an OME-Zarr, and the path in it."""
    outer = url.rstrip("/")
    for depth in range(1, min(len(path.parts), 3) + 1):
        outer = outer.rpartition("/")[0]
        attributes = _group_attributes(outer, config.storage_options)
        if "multiscales" in attributes.get("ome", attributes):
            return attributes, "/".join(path.parts[-depth:])
    return {}, ""


def _group_attributes(url: str, storage_options: dict[str, Any]) -> Mapping[str, Any]:
    try:
        return dict(zarr.open_group(store=_store(url, storage_options), mode="r").attrs)
    except Exception:
        # no group there: the array has no OME-Zarr around it
        return {}


def _is_n5(url: str, storage_options: dict[str, Any]) -> bool:
    import fsspec

    try:
        with fsspec.open(f"{url.rstrip('/')}/attributes.json", **storage_options) as file:
            return "dimensions" in json.load(file)
    except (OSError, ValueError):
        return False


def _dimension_names(array: zarr.Array[Any]) -> tuple[str, ...] | None:
    names = getattr(array.metadata, "dimension_names", None)
    return tuple(names) if names and all(names) else None


def _split_axes(
    name: str, shape: tuple[int, ...], axes: tuple[str, ...] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes of the leading axes (time, channel) and of the space axes."""
    if axes is not None and len(axes) == len(shape):
        plain = [axis.rstrip("^").lower() for axis in axes]
        dims = sum(axis in ("z", "y", "x") for axis in plain)
        if plain[-dims:] != ["z", "y", "x"][-dims:] or dims < 2:
            raise ArrayError(f"{name} has axes {', '.join(axes)}; they must end in z, y, x")
    else:
        dims = min(len(shape), 3)
    leading, space = shape[: len(shape) - dims], shape[len(shape) - dims :]
    if dims < 2 or sum(size > 1 for size in leading) > 1:
        raise ArrayError(
            f"{name} has shape {shape}; wanted are axes z, y, x, and at most a channel axis first"
        )
    return leading, space


def _three(
    name: str, field: str, values: tuple[float, ...] | None, flat: bool, fill: float
) -> Nanometres:
    """One value for each of z, y, x; of an image without depth z is filled in."""
    wanted = 2 if flat else 3
    if values is None:
        raise ArrayError(f"{name} has no {field} in its attributes; set {field} (in nm) by hand")
    if flat and len(values) == 3:
        values = values[1:]
    if len(values) > wanted and field in ("voxel_size", "offset"):
        # a channel axis may have been given a size too
        values = values[-wanted:]
    if len(values) != wanted:
        raise ArrayError(f"{name}: {field} {values} has {len(values)} values, wanted {wanted}")
    if flat:
        values = (fill, *values)
    z, y, x = (float(value) for value in values)
    if field == "voxel_size" and min(z, y, x) <= 0:
        raise ArrayError(f"{name}: voxel_size {values} is not positive; set it by hand")
    return (z, y, x)

"""Arrays of any format and file system, read box by box through one cache of decoded chunks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from dacapo_core.data.axis_order import volume_axes
from dacapo_core.data.boxes import Box, Voxels, as_voxels
from dacapo_core.data.chunk_cache import chunk_cache
from dacapo_core.data.format_detection import StoredArray, find_array, groups_around
from dacapo_core.data.metadata_files import SECONDS, explained
from dacapo_core.data.tensorstore_kvstore import key_value_store
from dacapo_core.data.volume_metadata import (
    VolumeMetadata,
    group_metadata,
    ome_without_scales,
    own_metadata,
)
from dacapo_core.experiments.datasplits.datasets.arrays.array import (
    Array,
    ArrayError,
    ArrayUnreachableError,
    ChunkGrid,
)

if TYPE_CHECKING:
    from dacapo_core.experiments.datasplits.datasets.arrays.zarr_array_config import (
        ZarrArrayConfig,
    )

# a read is given up after so long, and what it takes at this rate
_SECONDS = 300.0
_BYTES_PER_SECOND = 100e3

# how tensorstore's errors begin where it does not know a codec or type
_OF_FORMAT = ("FAILED_PRECONDITION", "INVALID_ARGUMENT", "UNIMPLEMENTED")


class TensorStoreArray(Array):
    """An array whose chunks are read when they are asked for; see ``open_array``.

    Any number of threads may read; decoding goes on outside the interpreter lock.

    Args:
        name: how messages call it.
        opened: opens it anew, with the cache that is in force.
        metadata: its axes, voxel size and offset.
    """

    def __init__(
        self, name: str, opened: Callable[[ts.Context], ts.TensorStore], metadata: VolumeMetadata
    ) -> None:
        self.name = name
        self._opened = opened
        self._cache = chunk_cache()
        store = opened(self._cache)
        self.dtype = store.dtype.numpy_dtype
        if self.dtype.kind not in "buif":
            raise ArrayError(f"{name} holds {store.dtype.name}, not numbers")
        self._axes = axes = volume_axes(name, store.shape, metadata)
        self.num_channels = max(axes.leading) if axes.leading else None
        self.shape = axes.shape
        self.voxel_size = axes.voxel_size
        self.offset = axes.offset
        self._store = self._arranged(store)
        self._chunk_bytes = self.dtype.itemsize * math.prod(
            each or 1 for each in store.chunk_layout.read_chunk.shape or store.shape
        )
        # what zarr-python reads passes tensorstore by
        self._counted = store.kvstore is not None
        self._files = store.kvstore
        self._file_shape = store.chunk_layout.write_chunk.shape

    @property
    def chunks(self) -> ChunkGrid:
        layout = self._store.chunk_layout
        shape = layout.read_chunk.shape or self._store.shape
        first = layout.grid_origin or (0,) * self._store.rank
        return ChunkGrid(
            as_voxels([each or 0 for each in first[-3:]]),
            as_voxels([each or 1 for each in shape[-3:]]),
            self._chunk_bytes,
            self._counted,
        )

    def stored_voxels(self, seconds: float) -> list[Voxels]:
        if self._files is None or self._file_shape is None:
            return []
        try:
            names = self._files.list().result(timeout=seconds)
        except Exception:
            # a server may list nothing, and each fails in its own way
            return []
        found = []
        for name in names:
            # of zarr: 3.0.7, 3/0/7, c/3/0/7
            match = re.fullmatch(rb"(?:c[./])?(\d+(?:[./]\d+)*)", name)
            numbers = [] if match is None else [int(each) for each in re.split(rb"[./]", match[1])]
            if len(numbers) == len(self._file_shape):
                begins = [n * (s or 1) for n, s in zip(numbers, self._file_shape, strict=True)]
                space = [begins[axis] for axis in self._axes.order[len(self._axes.leading) :]]
                found.append(as_voxels([0, *space] if self._axes.flat else space))
        return found

    def read(self, begin: Voxels, end: Voxels) -> NDArray[Any]:
        return self.start_read(begin, end)()

    def start_read(self, begin: Voxels, end: Voxels) -> Callable[[], NDArray[Any]]:
        cache = chunk_cache()
        if cache is not self._cache:
            self._cache, self._store = cache, self._arranged(self._opened(cache))
        try:
            part = self._store[(..., *Box(begin, end).slices)]
            reading = part.read(order="C")
        except ValueError as error:
            raise ArrayError(f"{self.name} cannot be read: {explained(error)}") from error
        seconds = _SECONDS + self.dtype.itemsize * part.size / _BYTES_PER_SECOND

        def values() -> NDArray[Any]:
            try:
                return np.asarray(reading.result(timeout=seconds))
            except TimeoutError as error:
                raise ArrayUnreachableError(
                    f"{self.name} cannot be read: no answer within {seconds:.0f} s; check that "
                    "its server can be reached"
                ) from error
            except Exception as error:
                # each codec and file system fails in its own way
                raise ArrayError(f"{self.name} cannot be read: {explained(error)}") from error

        return values

    def _arranged(self, store: ts.TensorStore) -> ts.TensorStore:
        """``([channels,] z, y, x)`` of what is stored; nothing is read."""
        axes = self._axes
        store = store.transpose(axes.order)
        if axes.leading:
            channels = axes.leading.index(max(axes.leading))
            store = store[
                tuple(slice(None) if i == channels else 0 for i in range(len(axes.leading)))
            ]
        return store[..., ts.newaxis, :, :] if axes.flat else store


def open_array(config: ZarrArrayConfig) -> TensorStoreArray:
    """The array of a configuration; see ``ZarrArrayConfig.array``."""
    name = config.url
    stored = find_array(name, config.storage_options)
    metadata = _metadata(name, stored, config)
    return TensorStoreArray(name, lambda cache: _opened(name, stored, config, cache), metadata)


def _opened(
    name: str, stored: StoredArray, config: ZarrArrayConfig, cache: ts.Context
) -> ts.TensorStore:
    spec = key_value_store(stored.folder, config.storage_options)
    if spec is None and not stored.is_zarr:
        raise ArrayError(
            f"{name} is {stored.driver.replace('_', ' ')}, which is read from paths, https, s3 and "
            "gs URLs with ordinary storage_options; copy it there, or convert it to zarr"
        )
    try:
        if spec is not None:
            # chunks do not change while a run reads them
            wanted = {"driver": stored.driver, "kvstore": spec, "recheck_cached_data": "open"}
            opened = ts.open({**wanted, **stored.options}, read=True, context=cache)
            store = opened.result(timeout=SECONDS)
            if stored.is_zarr:
                return store
            # x is the first axis of the other formats; a single channel is left out
            store = store[ts.d[:].translate_to[0]].T
            return store[0] if stored.driver != "n5" and store.shape[0] == 1 else store
    except Exception as error:
        # each file system and codec fails in its own way
        if not (stored.is_zarr and str(error).startswith(_OF_FORMAT)):
            raise ArrayError(f"{name} cannot be opened: {explained(error)}") from error
    from dacapo_core.data.zarr_python_fallback import open_with_zarr

    return open_with_zarr(name, config.storage_options, cache)


def _metadata(name: str, stored: StoredArray, config: ZarrArrayConfig) -> VolumeMetadata:
    """The array's axes, voxel size and offset; what the configuration says wins."""
    found = _of_attributes(name, stored, config)
    return VolumeMetadata(
        axes=found.axes or stored.dimension_names,
        voxel_size=config.voxel_size or found.voxel_size,
        offset=config.offset or found.offset,
    )


def _of_attributes(name: str, stored: StoredArray, config: ZarrArrayConfig) -> VolumeMetadata:
    """What the array's attributes say, else what those of the nearest group say."""
    attributes, x_first = stored.attributes, stored.x_first
    try:
        own = own_metadata(attributes, x_first=x_first)
        if own.voxel_size is not None:
            return own
        groups = groups_around(name, config.storage_options)
        for group in groups:
            found = group_metadata(group.attributes, group.path, attributes, x_first=x_first)
            if found.voxel_size is not None:
                return VolumeMetadata(
                    own.axes or found.axes, found.voxel_size, own.offset or found.offset
                )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if config.voxel_size is not None:
            return VolumeMetadata()
        raise ArrayError(f"{name}: attributes that cannot be understood: {error}") from error
    for group in groups:
        if config.voxel_size is None and ome_without_scales(group.attributes):
            raise ArrayError(
                f"{name} has no voxel_size in its attributes, and the group {group.url} around it "
                "says ome, but holds no multiscales; set voxel_size (in nm) by hand"
            )
    return own

"""Zarr arrays that tensorstore does not read itself, chunk by chunk by zarr-python.

Those are on file systems that only fsspec speaks, such as Azure's, or compressed by numcodecs'
rarer codecs, such as lz4. Their chunks are decoded under the interpreter lock, and kept in the same
cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorstore as ts
import zarr
from numpy.typing import NDArray
from zarr.storage import FsspecStore

from dacapo_core.data.metadata_files import explained
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError


def open_with_zarr(
    url: str, storage_options: Mapping[str, Any], cache: ts.Context
) -> ts.TensorStore:
    """The array at `url`, its chunks kept in `cache`.

    Raises:
        ArrayError: it cannot be opened, or holds no numbers.
    """
    try:
        store: Any = url
        if "://" in url or storage_options:
            options = dict(storage_options) or None
            store = FsspecStore.from_url(url, storage_options=options, read_only=True)
        array = zarr.open_array(store=store, mode="r")
    except Exception as error:
        # each file system and codec fails in its own way
        raise ArrayError(f"{url} cannot be opened: {explained(error)}") from error
    dtype = array.dtype.newbyteorder("=")
    if dtype.kind not in "buif":
        raise ArrayError(f"{url} holds {dtype}, not numbers")

    def read(domain: ts.IndexDomain, chunk: NDArray[Any], _: Any) -> None:
        chunk[...] = np.asarray(array[domain.index_exp])

    return ts.virtual_chunked(
        read,
        dtype=ts.dtype(dtype),
        shape=array.shape,
        chunk_layout=ts.ChunkLayout(read_chunk_shape=array.chunks),
        context=cache,
    )

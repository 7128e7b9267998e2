"""What is stored at a URL: an array of which format, its attributes, and the groups around it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import fsspec

from dacapo_core.data.metadata_files import explained, read_json
from dacapo_core.data.volume_metadata import ome_without_scales, scale_paths
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError

_OF_ARRAYS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", "attributes.json", "info")
_OF_GROUPS = ("zarr.json", ".zattrs", "attributes.json")
# an array lies at most so deep in the group that says where it is
_LEVELS = 3


@dataclass(frozen=True)
class StoredArray:
    """An array that was found.

    Attributes:
        driver: tensorstore's name of the format.
        folder: URL of what the driver opens.
        attributes: the array's own.
        dimension_names: of a zarr 3 array that has them.
        options: what tensorstore is told about the array besides.
    """

    driver: str
    folder: str
    attributes: Mapping[str, Any]
    dimension_names: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_zarr(self) -> bool:
        """Whether it is zarr, of format 2 or 3."""
        return self.driver in ("zarr", "zarr3")

    @property
    def x_first(self) -> bool:
        """Whether lists in its attributes begin with x."""
        return self.driver == "n5"


@dataclass(frozen=True)
class Group:
    """A group around an array.

    Attributes:
        url: of the group.
        path: of the array in it.
        attributes: the group's.
    """

    url: str
    path: str
    attributes: Mapping[str, Any]


def find_array(url: str, storage_options: Mapping[str, Any]) -> StoredArray:
    """The array at `url`.

    Raises:
        FileNotFoundError: there is none.
        ArrayError: nothing can be read there, or it is no array; the message says why.
    """
    url = url.rstrip("/")
    files, failure = _files_of(url, storage_options)
    if (array := _array_of(url, files)) is not None:
        return array
    if isinstance(files.get("info", {}).get("scales"), list):
        return _only_scale(url, files["info"]["scales"])
    if not files and failure is None:
        scale, failure = _scale_at(url, storage_options)
        if scale is not None:
            return scale
    if failure is not None:
        raise ArrayError(f"{url} cannot be opened: {explained(failure)}") from failure
    if not files:
        raise FileNotFoundError(
            f"there is no zarr array, N5 or precomputed volume at {url}; check file_name and "
            "dataset"
        )
    attributes = _attributes_of(files)
    said = ", and its ome holds no multiscales" if ome_without_scales(attributes) else ""
    names = scale_paths(attributes) or _arrays_within(url, storage_options)
    listed = f": {', '.join(names)}" if names else ""
    raise ArrayError(
        f"{url} is a group, not an array{said}; give the path of an array in it{listed}"
    )


def groups_around(url: str, storage_options: Mapping[str, Any]) -> list[Group]:
    """Groups that have attributes, the nearest first; none where they cannot be read."""
    folders = list(_folders_above(url))
    wanted = [(folder, name) for folder, _ in folders for name in _OF_GROUPS]
    try:
        found, _ = read_json(wanted, storage_options)
    except Exception:
        # above the array may be what is no folder of this file system, such as a list of buckets
        return []
    groups = []
    for folder, path in folders:
        files = {name: found.get((folder, name)) for name in _OF_GROUPS}
        attributes = _attributes_of({k: v for k, v in files.items() if isinstance(v, dict)})
        if attributes:
            groups.append(Group(folder, path, attributes))
    return groups


def _folders_above(url: str) -> Iterator[tuple[str, str]]:
    """The folders around `url`, the nearest first, and its path in each."""
    # a relative path has folders above it too
    folder = url = url.rstrip("/") if "://" in url else os.path.abspath(url)
    for _ in range(_LEVELS):
        folder = folder.rpartition("/")[0]
        if not folder or folder.endswith((":", "/")):
            return
        yield folder, url[len(folder) + 1 :]


def _files_of(
    url: str, storage_options: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], Exception | None]:
    try:
        found, failure = read_json([(url, name) for name in _OF_ARRAYS], storage_options)
    except Exception as error:
        # each file system fails in its own way
        return {}, error
    return {name: v for (_, name), v in found.items() if isinstance(v, dict)}, failure


def _attributes_of(files: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of a group, whichever format it is."""
    return {
        **files.get("attributes.json", {}),
        **files.get(".zattrs", {}),
        **(files.get("zarr.json", {}).get("attributes") or {}),
    }


def _array_of(url: str, files: Mapping[str, Mapping[str, Any]]) -> StoredArray | None:
    third = files.get("zarr.json", {})
    if third.get("node_type") == "array":
        names = third.get("dimension_names")
        return StoredArray(
            "zarr3",
            url,
            third.get("attributes") or {},
            tuple(names) if names and all(names) else None,
        )
    if ".zarray" in files:
        return StoredArray("zarr", url, files.get(".zattrs", {}))
    n5 = files.get("attributes.json", {})
    if "dimensions" in n5 and "blockSize" in n5:
        # tensorstore refuses attributes that it expects otherwise, such as three values of
        # resolution where there are channels; these alone say how chunks are stored
        known = ("dimensions", "blockSize", "dataType", "compression")
        said = {key: n5[key] for key in known if n5.get(key)}
        if "compressionType" in n5:
            # N5 before its version 2
            said.setdefault("compression", {"type": n5["compressionType"]})
        options = {"metadata": said, "assume_metadata": True, "open": True}
        return StoredArray("n5", url, n5, options=options)
    return None


def _only_scale(url: str, scales: list[dict[str, Any]]) -> StoredArray:
    if len(scales) != 1:
        names = ", ".join(str(scale.get("key")) for scale in scales)
        raise ArrayError(
            f"{url} is a precomputed volume of {len(scales)} scales; give one as dataset: {names}"
        )
    return _scale(url, scales, 0)


def _scale(folder: str, scales: list[dict[str, Any]], index: int) -> StoredArray:
    size = [float(value) for value in reversed(scales[index]["resolution"])]
    first = reversed(scales[index].get("voxel_offset") or (0, 0, 0))
    offset = [a * int(b) for a, b in zip(size, first, strict=True)]
    return StoredArray(
        "neuroglancer_precomputed",
        folder,
        {"voxel_size": size, "offset": offset},
        options={"scale_index": index},
    )


def _scale_at(
    url: str, storage_options: Mapping[str, Any]
) -> tuple[StoredArray | None, Exception | None]:
    """The scale of a precomputed volume whose key is the end of `url`."""
    for folder, key in _folders_above(url):
        try:
            found, failure = read_json([(folder, "info")], storage_options)
        except Exception:
            break
        if failure is not None:
            return None, failure
        info = found.get((folder, "info"))
        scales = info.get("scales") if isinstance(info, dict) else None
        if isinstance(scales, list):
            for index, scale in enumerate(scales):
                if scale.get("key") == key:
                    return _scale(folder, scales, index), None
            names = ", ".join(str(scale.get("key")) for scale in scales)
            raise ArrayError(
                f"{folder} is a precomputed volume without scale {key}; it has {names}"
            )
    return None, None


def _arrays_within(url: str, storage_options: Mapping[str, Any]) -> list[str]:
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **storage_options)
        folders = [
            entry["name"].rstrip("/").rpartition("/")[2]
            for entry in filesystem.ls(path, detail=True)
            if entry["type"] == "directory"
        ]
        names = [(f"{url}/{folder}", name) for folder in folders for name in _OF_ARRAYS]
        found, _ = read_json(names, storage_options)
    except Exception:
        # an http server lists nothing
        return []
    files: dict[str, dict[str, dict[str, Any]]] = {}
    for (folder, name), value in found.items():
        if isinstance(value, dict):
            files.setdefault(folder, {})[name] = value
    return sorted(
        folder.rpartition("/")[2] for folder, inside in files.items() if _array_of(folder, inside)
    )

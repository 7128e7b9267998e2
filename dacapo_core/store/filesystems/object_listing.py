"""Listing objects of an object store as files and folders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dacapo_core.store.filesystems.file_info import FileInfo, info_from_listing
from dacapo_core.store.filesystems.translated_errors import is_missing_bucket


def list_objects(fs: Any, folder: str) -> Iterator[FileInfo]:
    """Objects right in a folder; its folders too, with that as their problem."""
    for entry in _listed(fs, folder):
        if entry["type"] == "directory":
            yield FileInfo(_name(entry), 0, 0.0, problem="a folder")
        else:
            yield info_from_listing(entry)


def list_object_folders(fs: Any, folder: str) -> list[str]:
    """Names of the folders right in a folder."""
    names = [_name(entry) for entry in _listed(fs, folder) if entry["type"] == "directory"]
    return [name for name in names if name]


def find_objects(fs: Any, folder: str) -> list[FileInfo]:
    """All objects below a folder, with ``/``-joined names relative to it, in one listing."""
    prefix = folder.strip("/") + "/"
    return [
        info_from_listing(entry, entry["name"].lstrip("/").removeprefix(prefix))
        for entry in fs.find(folder, detail=True).values()
    ]


def is_something(fs: Any, root: str) -> bool:
    """Whether there is a bucket, where the root is one, or else an object below the root."""
    try:
        entries = fs.ls(root, detail=False)
    except FileNotFoundError:
        return False
    return bool(entries) or "/" not in root.strip("/")


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _listed(fs: Any, folder: str) -> list[dict[str, Any]]:
    try:
        entries = fs.ls(folder, detail=True)
    except FileNotFoundError as error:
        if is_missing_bucket(error):
            raise
        return []
    except KeyError:
        # fsspec's memory, where another thread deleted one of the files meanwhile
        return _listed(fs, folder)
    # object stores list a marker of the folder itself
    own = folder.strip("/")
    return [entry for entry in entries if entry["name"].strip("/") != own]

"""What a listing says about a file."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple


# no dataclass: it takes twice as long to make, ten thousand times a listing
class FileInfo(NamedTuple):
    """A file in a listing.

    Attributes:
        name: within the folder listed; ``/``-joined when it was listed recursively.
        size: bytes.
        modified: seconds since 1970.
        version: what tells it from another of the same name, size and time: the inode, the
            ETag; None where there is no such thing.
        links: how many names its bytes have; 0: it is a symbolic link to them.
        problem: what stands there instead of a file that can be read; None: it is one.
    """

    name: str
    size: int
    modified: float
    version: str | int | None = None
    links: int = 1
    problem: str | None = None


# the keys under which fsspec's file systems report when a file was written
_TIME_KEYS = ("LastModified", "mtime", "last_modified", "updated", "modified", "created")


def info_from_listing(entry: Mapping[str, Any], name: str | None = None) -> FileInfo:
    """The file of one entry of an fsspec listing; its age is unknown, so new, without a time."""
    if name is None:
        name = str(entry["name"]).rpartition("/")[2]
    version = entry.get("ETag") or entry.get("etag")
    return FileInfo(name, int(entry.get("size") or 0), _modified(entry), version)


def version_of(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What is another once the object of an fsspec entry was replaced: size, ETag and times."""
    return tuple(entry.get(key) for key in ("size", "ETag", "etag", *_TIME_KEYS))


def info_of_file(entry: Mapping[str, Any]) -> FileInfo:
    """
    Raises:
        FileNotFoundError: the entry is a folder's.
    """
    if entry["type"] == "directory":
        raise FileNotFoundError(errno.ENOENT, "not a file", entry["name"])
    return info_from_listing(entry)


def _modified(entry: Mapping[str, Any]) -> float:
    for key in _TIME_KEYS:
        value = entry.get(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()

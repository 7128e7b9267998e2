"""What is in the folders of a store, on any file system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from dacapo_core.store.errors import InvalidPlaceError
from dacapo_core.store.filesystems import local_listing
from dacapo_core.store.filesystems.file_info import FileInfo
from dacapo_core.store.filesystems.location import place_of
from dacapo_core.store.filesystems.object_listing import (
    find_objects,
    is_something,
    list_object_folders,
    list_objects,
)
from dacapo_core.store.filesystems.object_writing import names_no_bucket
from dacapo_core.store.filesystems.open_filesystem import open_filesystem
from dacapo_core.store.filesystems.translated_errors import reading


class Listing:
    """The folder of a store on an opened file system, and listings of what is in it.

    Listings are never stale, and names are never globbed.

    Attributes:
        basedir: absolute path, or URL.
        is_local: files of this machine's file system; they can be mapped into memory.
    """

    def __init__(self, basedir: str | Path, storage_options: dict[str, Any] | None = None) -> None:
        """
        Raises:
            InvalidPlaceError: it is neither a path nor a URL, or names no bucket.
            ValueError: the package of the file system is not installed.
            StorageOptionsError: the file system does not know one of the options.
        """
        place = place_of(basedir)
        self._open = partial(open_filesystem, place, storage_options or {})
        self._opened, root = self._open()
        self._process = os.getpid()
        self.is_local: bool = isinstance(self._fs, LocalFileSystem)
        self._root = root if self.is_local else str(root).rstrip("/")
        self.basedir: str = self._root if self.is_local else place.address.rstrip("/")
        if names_no_bucket(self._fs, self._root):
            raise InvalidPlaceError(
                f"store {place.address!r} names no bucket: give s3://bucket/folder or so"
            )

    def url(self, path: str) -> str:
        """The path as a person would type it."""
        return f"{self.basedir}/{path}" if path else self.basedir

    @property
    def _fs(self) -> Any:
        if self._process != os.getpid():
            # a forked child: an object store's thread and connections are its parent's
            self._opened, self._process = self._open()[0], os.getpid()
        return self._opened

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def is_there(self) -> bool:
        """Whether there is anything at the base directory: a folder, a bucket, some object."""
        with reading(self.basedir):
            if self.is_local:
                return os.path.isdir(self._root)
            return is_something(self._fs, self._root)

    def list_files(self, folder: str) -> Iterator[FileInfo]:
        """Everything right in ``folder``, in no order; what is no file has a ``problem``."""
        with reading(self.url(folder)):
            if self.is_local:
                yield from local_listing.list_files(self._full(folder), self._root)
            else:
                yield from list_objects(self._fs, self._full(folder))

    def file_names(self, folder: str) -> list[str]:
        """Names of everything right in ``folder`` but folders, unreadable files included."""
        if self.is_local:
            with reading(self.url(folder)):
                return local_listing.file_names(self._full(folder))
        return [info.name for info in self.list_files(folder) if info.problem is None]

    def sound_names(self, folder: str) -> list[str]:
        """Names of the files right in ``folder``, without bad links, pipes and the like."""
        if self.is_local:
            with reading(self.url(folder)):
                return local_listing.sound_names(self._full(folder), self._root)
        return self.file_names(folder)

    def names(self, folder: str) -> list[str]:
        """Names right in ``folder``, in the cheapest way: locally those of folders too."""
        if self.is_local:
            with reading(self.url(folder)):
                return local_listing.names(self._full(folder))
        return self.file_names(folder)

    def list_folders(self, folder: str = "") -> list[str]:
        """Names of the folders right in ``folder``."""
        with reading(self.url(folder)):
            if self.is_local:
                return local_listing.list_folders(self._full(folder))
            return list_object_folders(self._fs, self._full(folder))

    def bad_links(self) -> dict[str, str]:
        """Name → problem, of the base directory's links that lead to nothing below it."""
        with reading(self.basedir):
            return local_listing.bad_links(self._root) if self.is_local else {}

    def find_files(self, folder: str) -> list[FileInfo]:
        """All files below ``folder`` with ``/``-joined names relative to it, in one listing."""
        with reading(self.url(folder)):
            if self.is_local:
                return local_listing.find_files(self._full(folder), self._root)
            return find_objects(self._fs, self._full(folder))

"""What is in the folders of a store, on any file system."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from dacapo_core.store.filesystems import local_listing
from dacapo_core.store.filesystems.file_info import FileInfo
from dacapo_core.store.filesystems.object_listing import (
    find_objects,
    is_something,
    list_object_folders,
    list_objects,
)
from dacapo_core.store.filesystems.translated_errors import reading


class Listing(ABC):
    """The listings of the folders below one base directory; never stale, names never globbed."""

    basedir: str
    is_local: bool
    _root: str

    @property
    @abstractmethod
    def _fs(self) -> Any: ...

    @abstractmethod
    def _full(self, path: str) -> str: ...

    @abstractmethod
    def url(self, path: str) -> str:
        """The path as a person would type it."""

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

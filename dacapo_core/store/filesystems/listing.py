"""What is in the folders of a store, on any file system."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from dacapo_core.store.filesystems import local_files
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
        """What is right in ``folder``, in no order; what is no file says so by its ``problem``."""
        with reading(self.url(folder)):
            if self.is_local:
                yield from local_files.list_files(self._full(folder), self._root)
            else:
                yield from list_objects(self._fs, self._full(folder))

    def file_names(self, folder: str) -> list[str]:
        """Names of all right in ``folder`` but folders, of what cannot be read too."""
        if self.is_local:
            with reading(self.url(folder)):
                return local_files.file_names(self._full(folder))
        return [info.name for info in self.list_files(folder) if info.problem is None]

    def sound_names(self, folder: str) -> list[str]:
        """Names of the files right in ``folder``, without links astray, pipes and the like."""
        if self.is_local:
            with reading(self.url(folder)):
                return local_files.sound_names(self._full(folder), self._root)
        return self.file_names(folder)

    def names(self, folder: str) -> list[str]:
        """Names right in ``folder``; locally of folders too, which is what is cheapest."""
        if self.is_local:
            with reading(self.url(folder)):
                return local_files.names(self._full(folder))
        return self.file_names(folder)

    def list_folders(self, folder: str = "") -> list[str]:
        """Names of the folders right in ``folder``."""
        with reading(self.url(folder)):
            if self.is_local:
                return local_files.list_folders(self._full(folder))
            return list_object_folders(self._fs, self._full(folder))

    def links_astray(self) -> dict[str, str]:
        """Name → what is wrong, of the base directory's links that lead nowhere below it."""
        with reading(self.basedir):
            return local_files.links_astray(self._root) if self.is_local else {}

    def find_files(self, folder: str) -> list[FileInfo]:
        """All files below ``folder`` with ``/``-joined names relative to it, in one listing."""
        with reading(self.url(folder)):
            if self.is_local:
                return local_files.find_files(self._full(folder), self._root)
            return find_objects(self._fs, self._full(folder))

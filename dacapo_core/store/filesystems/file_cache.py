"""The contents of small files, kept while a listing says that they are unchanged."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable

from dacapo_core.store.filesystems.file_info import FileInfo

# a file this young may be written again within the resolution of its time
YOUNG_SECONDS = 2.0

ReadMany = Callable[[Iterable[str]], dict[str, bytes]]


class FileCache:
    """Contents of the folders that one store reads again and again."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, tuple[FileInfo, bytes]]] = {}

    def read(
        self,
        folder: str,
        files: Iterable[FileInfo],
        read_many: ReadMany,
        wanted: Container[str] | None = None,
    ) -> dict[str, bytes]:
        """Contents by path; a file that is gone since it was listed is left out.

        Args:
            files: all of the folder, as just listed; what is not among them is forgotten.
            read_many: reads those that are new or changed.
            wanted: names of those to read; default all.
        """
        there = {f"{folder}/{file.name}": file for file in files}
        listed = {
            path: file for path, file in there.items() if wanted is None or file.name in wanted
        }
        before = {path: each for path, each in self._known.get(folder, {}).items() if path in there}
        old = {
            path: before[path]
            for path, file in listed.items()
            if path in before and before[path][0] == file
        }
        new = read_many([path for path in listed if path not in old])
        settled = time.time() - YOUNG_SECONDS
        self._known[folder] = before | {
            path: (listed[path], content)
            for path, content in new.items()
            if listed[path].modified < settled
        }
        contents = {path: content for path, (_, content) in old.items()} | new
        return {path: contents[path] for path in listed if path in contents}

"""Listing the folders of this machine by scandir; a missing folder has nothing in it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from dacapo_core.store.filesystems.file_info import FileInfo
from dacapo_core.store.filesystems.regular_files import problem_of, problem_of_link

_KIND_AND_READERS = 0o170444
_FILE_FOR_ALL = 0o100444


def names(folder: str) -> list[str]:
    """Names of everything in a folder."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_files(folder: str, root: str) -> Iterator[FileInfo]:
    """Everything right in a folder, with its problem where it is no file that can be read.

    One by one: ten thousand at once would wake the garbage collector.
    """
    for entry in _entries(folder):
        if (info := _info_of(entry, root)) is not None:
            yield info


def file_names(folder: str) -> list[str]:
    """Names of everything right in a folder but folders."""
    return [entry.name for entry in _entries(folder) if not _is_folder(entry)]


def sound_names(folder: str, root: str) -> list[str]:
    """Names of the files right in a folder, without bad links, pipes and the like."""
    return [
        entry.name
        for entry in _entries(folder)
        if entry.is_file(follow_symlinks=False)
        or (entry.is_symlink() and _problem_of_link(entry.path, root) is None)
    ]


def list_folders(folder: str) -> list[str]:
    """Names of the folders right in a folder, and of links to some."""
    return [entry.name for entry in _entries(folder) if _is_folder(entry)]


def bad_links(root: str) -> dict[str, str]:
    """Name → problem, of links right in a store's root that lead to nothing below it."""
    links = [entry for entry in _entries(root) if entry.is_symlink()]
    problems = {entry.name: _problem_of_link(entry.path, root) for entry in links}
    return {name: what for name, what in problems.items() if what not in (None, "a folder")}


def find_files(folder: str, root: str) -> list[FileInfo]:
    """All files below a folder, with ``/``-joined names relative to it."""
    found = []
    pending = [""]
    while pending:
        prefix = pending.pop()
        for entry in _entries(os.path.join(folder, prefix)):
            if entry.is_dir(follow_symlinks=False) and not entry.name.endswith(".json"):
                pending.append(f"{prefix}{entry.name}/")
            elif (info := _info_of(entry, root, prefix)) is not None:
                found.append(info)
    return found


def file_info(path: str, root: str) -> FileInfo:
    """One file; FileNotFoundError when it is missing, or is a folder, a bad link, a pipe, ….

    One that this user may not read has that as its ``problem``.
    """
    status = os.lstat(path)
    is_link = stat.S_ISLNK(status.st_mode)
    if is_link:
        problem = problem_of_link(path, root)
        if problem is None:
            status = os.stat(path)
    else:
        problem = problem_of(path, status)
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, problem or "not a file", path)
    return _info(os.path.basename(path), status, problem, is_link)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        yield from entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # a link that leads to itself
        return False


def _info_of(entry: os.DirEntry[str], root: str, prefix: str = "") -> FileInfo | None:
    name = prefix + entry.name
    try:
        is_link = entry.is_symlink()
        if is_link and (problem := problem_of_link(entry.path, root)) is not None:
            return FileInfo(name, 0, 0.0, links=0, problem=problem)
        status = entry.stat()
    except FileNotFoundError:
        return None
    # almost all are such files
    is_plain = status.st_mode & _KIND_AND_READERS == _FILE_FOR_ALL
    problem = None if is_plain else problem_of(entry.path, status)
    return _info(name, status, problem, is_link)


def _info(name: str, status: os.stat_result, problem: str | None, is_link: bool) -> FileInfo:
    links = 0 if is_link else max(status.st_nlink, 1)
    return FileInfo(name, status.st_size, status.st_mtime, status.st_ino, links, problem)


def _problem_of_link(path: str, root: str) -> str | None:
    try:
        return problem_of_link(path, root)
    except FileNotFoundError:
        return "gone"

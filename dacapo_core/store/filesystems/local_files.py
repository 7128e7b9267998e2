"""Files of this machine: listed by scandir, written beside, made durable, renamed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from dacapo_core.store.filesystems.capabilities import make_hard_link, make_link, sync_folder
from dacapo_core.store.filesystems.file_info import FileInfo
from dacapo_core.store.filesystems.regular_files import trouble_of, trouble_of_link
from dacapo_core.store.filesystems.unbuffered_files import EagerFile

_OTHER_HOSTS_PARTIAL_IS_DEAD_AFTER = 86_400.0  # seconds
_AT_ONCE = 8
_WORTH_A_THREAD = 50  # files to delete
_KIND_AND_READERS = 0o170444
_FILE_FOR_ALL = 0o100444


def names(folder: str) -> list[str]:
    """Names of everything in a folder; none when there is no such folder."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_files(folder: str, root: str) -> Iterator[FileInfo]:
    """What is right in a folder, with what is wrong with it; none when there is no such folder.

    One by one: ten thousand at once would wake the garbage collector.
    """
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            info = _file_info(entry, root)
            if info is not None:
                yield info


def file_names(folder: str) -> list[str]:
    """Names of all that is right in a folder but folders."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if not _is_folder(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def sound_names(folder: str, root: str) -> list[str]:
    """Names of the files right in a folder, without links astray, pipes and the like."""
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if entry.is_file(follow_symlinks=False)
                or (entry.is_symlink() and _trouble_of_link(entry.path, root) is None)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_folders(folder: str) -> list[str]:
    """Names of the folders right in a folder, and of links to some."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if _is_folder(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def links_astray(folder: str) -> dict[str, str]:
    """Name → what is wrong, of links right in the folder of a store that lead nowhere in it."""
    try:
        with os.scandir(folder) as entries:
            links = [entry for entry in entries if entry.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    troubles = {entry.name: _trouble_of_link(entry.path, folder) for entry in links}
    return {name: what for name, what in troubles.items() if what not in (None, "a folder")}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # a link that leads to itself
        return False


def find_files(folder: str, root: str) -> list[FileInfo]:
    """All files below a folder, with ``/``-joined names relative to it."""
    found = []
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            with os.scandir(os.path.join(folder, prefix)) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False) and not entry.name.endswith(".json"):
                        pending.append(f"{prefix}{entry.name}/")
                    elif (info := _file_info(entry, root, prefix)) is not None:
                        found.append(info)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return found


def _file_info(entry: os.DirEntry[str], root: str, prefix: str = "") -> FileInfo | None:
    try:
        is_link = entry.is_symlink()
        if is_link and (problem := trouble_of_link(entry.path, root)) is not None:
            return FileInfo(prefix + entry.name, 0, 0.0, links=0, problem=problem)
        status = entry.stat()
    except FileNotFoundError:
        return None
    mode = status.st_mode
    # almost all are such files
    problem = None if mode & _KIND_AND_READERS == _FILE_FOR_ALL else trouble_of(entry.path, status)
    links = 0 if is_link else max(status.st_nlink, 1)
    name = prefix + entry.name
    return FileInfo(name, status.st_size, status.st_mtime, status.st_ino, links, problem)


def _trouble_of_link(path: str, root: str) -> str | None:
    try:
        return trouble_of_link(path, root)
    except FileNotFoundError:
        return "gone"


def file_info(path: str, root: str) -> FileInfo:
    """One file; FileNotFoundError when it is missing, or is a folder, a link astray, a pipe, ….

    One that this user may not read has that as its ``problem``.
    """
    status = os.lstat(path)
    is_link = stat.S_ISLNK(status.st_mode)
    if is_link:
        problem = trouble_of_link(path, root)
        if problem is None:
            status = os.stat(path)
    else:
        problem = trouble_of(path, status)
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, problem or "not a file", path)
    links = 0 if is_link else max(status.st_nlink, 1)
    name = os.path.basename(path)
    return FileInfo(name, status.st_size, status.st_mtime, status.st_ino, links, problem)


class Partial:
    """A file being written under a name of its own, with the umask's mode.

    Its writer holds a lock on it, which the kernel drops when the writer dies: so a sweep on
    the same host tells left-overs from files in the making. A context manager; what was not
    committed is gone after the block.
    """

    def __init__(self, final: str, folder: str) -> None:
        make_folders(folder)
        make_folders(os.path.dirname(final))
        self._final = final
        self._path, descriptor = _locked_file(folder)
        self.file = EagerFile(descriptor)

    def make_durable(self) -> None:
        os.fsync(self.file.fileno())

    def commit(self, *, durable: bool = True) -> None:
        """Show it under its final name, in place of any file there."""
        os.replace(self._path, self._final)
        if durable:
            sync_folder(os.path.dirname(self._final))

    def commit_new(self) -> None:
        """Show it under its final name, which must be free.

        Raises:
            FileExistsError: it is not.
        """
        if not make_hard_link(self._final, self._path):
            # one write of a few hundred bytes is the best that is left
            with open(self._final, "xb", buffering=0) as file:
                try:
                    size = os.fstat(self.file.fileno()).st_size
                    file.write(os.pread(self.file.fileno(), size, 0))
                    os.fsync(file.fileno())
                except OSError:
                    os.unlink(self._final)
                    raise
        sync_folder(os.path.dirname(self._final))

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def replace_link(path: str, target: str, partial_folder: str) -> None:
    """Make a relative symbolic link, atomically, in place of any link or file there.

    Where the file system has no links, nothing is done, and that is said once.
    """
    for folder in (partial_folder, os.path.dirname(path)):
        make_folders(folder)
    beside = os.path.join(partial_folder, f"{socket.gethostname()}~{secrets.token_hex(8)}")
    if make_link(beside, os.path.relpath(target, os.path.dirname(path))):
        os.replace(beside, path)


def _locked_file(folder: str) -> tuple[str, int]:
    """A new file of this process with its lock, unless the file system knows no locks."""
    while True:
        path = os.path.join(folder, f"{socket.gethostname()}~{secrets.token_hex(8)}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.exists(path):
            return path, descriptor
        # a sweep saw it before it was locked
        os.close(descriptor)


def make_folders(folder: str) -> None:
    """Make a folder and its parents, durably.

    Raises:
        NotADirectoryError: a file stands where a folder must be.
    """
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    if parent != folder:
        make_folders(parent)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise NotADirectoryError(
                errno.ENOTDIR, "a file stands where a folder must be", folder
            ) from None
        return
    sync_folder(parent)


def delete(paths: Iterable[str]) -> dict[str, Exception]:
    """Unlink files, several at once; what could not be, with why. A missing file is no error."""
    wanted = list(paths)
    # each unlink waits for the disk, or for a file server's answer
    share = max(len(wanted) // _AT_ONCE + 1, _WORTH_A_THREAD)
    if len(wanted) <= share:
        return _unlink(wanted)
    failed: dict[str, Exception] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        shares = [wanted[start : start + share] for start in range(0, len(wanted), share)]
        for of_a_share in pool.map(_unlink, shares):
            failed |= of_a_share
    return failed


def _unlink(paths: Iterable[str]) -> dict[str, Exception]:
    failed: dict[str, Exception] = {}
    for path in paths:
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            failed[path] = error
    return failed


def sweep(folder: str) -> list[str]:
    """Remove the partial files whose writers are dead; their names.

    On this host a writer is dead when its lock is free. Of other hosts, whose locks may not be
    seen here, files a day old are removed.
    """
    removed = []
    for name in names(folder):
        path = os.path.join(folder, name)
        if name.startswith(f"{socket.gethostname()}~"):
            gone = _remove_if_unlocked(path)
        else:
            gone = _remove_if_old(path, _OTHER_HOSTS_PARTIAL_IS_DEAD_AFTER)
        if gone:
            removed.append(name)
    return removed


def _remove_if_unlocked(path: str) -> bool:
    if os.path.islink(path):
        return _remove_if_old(path, 60)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except (FileNotFoundError, IsADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # under the lock: a writer that takes it next sees that its file is gone
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove_if_old(path: str, seconds: float) -> bool:
    try:
        if time.time() - os.lstat(path).st_mtime <= seconds:
            return False
        os.unlink(path)
    except (FileNotFoundError, IsADirectoryError):
        return False
    return True

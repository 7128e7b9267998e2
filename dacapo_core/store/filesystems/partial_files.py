"""Files of this machine being written: under another name, made durable, renamed.

A half-written file of a dead process is removed by `sweep`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import time

from dacapo_core.store.filesystems.capabilities import make_hard_link, make_link, sync_folder
from dacapo_core.store.filesystems.local_listing import names
from dacapo_core.store.filesystems.unbuffered_files import EagerFile

_OTHER_HOSTS_PARTIAL_IS_DEAD_AFTER = 86_400.0  # seconds
_LINK_IS_DEAD_AFTER = 60.0


class PartialFile:
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

    def __enter__(self) -> PartialFile:
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
    partial = _new_path(partial_folder)
    if make_link(partial, os.path.relpath(target, os.path.dirname(path))):
        os.replace(partial, path)


def _new_path(folder: str) -> str:
    return os.path.join(folder, f"{socket.gethostname()}~{secrets.token_hex(8)}")


def _locked_file(folder: str) -> tuple[str, int]:
    """A new file of this process with its lock, unless the file system knows no locks."""
    while True:
        path = _new_path(folder)
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


def sweep(folder: str) -> list[str]:
    """Remove the partial files whose writers are dead; their names.

    On this host a writer is dead when its lock is free. Of other hosts, whose locks may not be
    seen here, files a day old are removed.
    """
    own = f"{socket.gethostname()}~"
    return [
        name
        for name in names(folder)
        if _remove_if_dead(os.path.join(folder, name), of_this_host=name.startswith(own))
    ]


def _remove_if_dead(path: str, *, of_this_host: bool) -> bool:
    try:
        if not of_this_host:
            return _remove_if_old(path, _OTHER_HOSTS_PARTIAL_IS_DEAD_AFTER)
        if os.path.islink(path):
            return _remove_if_old(path, _LINK_IS_DEAD_AFTER)
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
    if time.time() - os.lstat(path).st_mtime <= seconds:
        return False
    os.unlink(path)
    return True

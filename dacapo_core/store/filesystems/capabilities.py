"""What some file systems cannot do and a store can do without: a warning, once, and no error."""

from __future__ import annotations

import errno
import logging
import os

logger = logging.getLogger(__name__)

NO_FOLDER_SYNC = (
    "the file system cannot make the names in a folder durable: after a power failure a checkpoint "
    "that was just stored may be missing; what is there is whole"
)
NO_SYMBOLIC_LINKS = (
    "the file system has no symbolic links: DaCapo's Start does not find a best checkpoint by "
    "'<dataset>/<criterion>' there; best records are kept as everywhere"
)

_REFUSES = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY}
# what file servers and FUSE say of a folder's descriptor; not a broken or a full disk
_NO_FOLDER_SYNC = _REFUSES | {errno.EBADF, errno.EISDIR, errno.EPERM, errno.EACCES}
# a FAT file system says EPERM; a folder that may not be written has said so before
_NO_LINKS = _REFUSES | {errno.EPERM, errno.EACCES}

_said: set[tuple[int, str]] = set()


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable, where its file system can."""
    problem = _sync(folder)
    if problem is not None:
        _say_once(folder, NO_FOLDER_SYNC, problem)


def make_link(path: str, target: str) -> bool:
    """Make a symbolic link; False where its file system has none."""
    try:
        os.symlink(target, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _say_once(os.path.dirname(path), NO_SYMBOLIC_LINKS, error)
        return False
    return True


def make_hard_link(path: str, file: str) -> bool:
    """Give a file a second name, which must be free; False where its file system cannot.

    Raises:
        FileExistsError: it is not free.
    """
    try:
        os.link(file, path)
    except OSError as error:
        if error.errno not in _NO_LINKS | {errno.EMLINK}:
            raise
        return False
    return True


def limits(folder: str) -> list[str]:
    """What cannot be done in a folder, for people; nothing is written."""
    return [] if _sync(folder) is None else [NO_FOLDER_SYNC]


def _sync(folder: str) -> OSError | None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
        return error
    finally:
        os.close(descriptor)
    return None


def _say_once(folder: str, what: str, error: OSError) -> None:
    key = os.stat(folder).st_dev, what
    if key not in _said:
        _said.add(key)
        logger.warning("%s: %s (%s)", folder, what, error)

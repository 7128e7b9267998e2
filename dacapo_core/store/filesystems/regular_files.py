"""Only regular files of the store are opened; anything else in their place is a named problem.

That is a link that leads to itself, to nowhere or out of the store, a pipe, a socket, a device, a
folder, or a file that this user may not read. Opening a pipe would wait for its writer, and a link
may lead anywhere.
"""

from __future__ import annotations

import errno
import os
import stat

from dacapo_core.store.errors import NotAFileError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_EVERYBODY_READS = 0o444
_REFUSED = {errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV, errno.EAGAIN, errno.EISDIR}


def problem_of_link(path: str, root: str) -> str | None:
    """The problem of a link, or of what it leads to; None: a regular file of the store.

    Args:
        root: of the store. A link may also lead into its own folder, which may lie elsewhere.

    Raises:
        FileNotFoundError: the link is gone.
    """
    os.lstat(path)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return f"a link to nowhere ({_target(path)})"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads to itself"
        return f"a link that cannot be followed: {error.strerror} ({_target(path)})"
    real = os.path.realpath(path)
    if not any(_is_below(real, folder) for folder in (root, os.path.dirname(path))):
        return f"a link out of the store, to {real}; it is not followed"
    return problem_of(path, status)


def problem_of(path: str, status: os.stat_result) -> str | None:
    """The problem of something that is no link; None: a regular file that can be read."""
    if not stat.S_ISREG(status.st_mode):
        return next((what for is_one, what in _KINDS if is_one(status.st_mode)), "no file")
    if status.st_mode & _EVERYBODY_READS != _EVERYBODY_READS and not _may_read(path):
        return f"a file that this user may not read (mode {status.st_mode & 0o777:04o})"
    return None


def open_to_read(path: str, root: str) -> int:
    """A descriptor of a regular file of the store.

    Raises:
        FileNotFoundError: nothing is there.
        NotAFileError: something else is there, or it may not be read; says what.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and os.path.islink(path):
            if (problem := problem_of_link(path, root)) is not None:
                raise _not_a_file(path, problem) from None
            descriptor = os.open(os.path.realpath(path), flags)
        elif error.errno in _REFUSED:
            said = problem_of(path, os.lstat(path)) or f"not to be read: {error.strerror}"
            raise _not_a_file(path, said) from error
        else:
            raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        said = problem_of(path, os.fstat(descriptor)) or "no file"
        os.close(descriptor)
        raise _not_a_file(path, said)
    return descriptor


def read(path: str, root: str) -> bytes:
    """A small file's content, in as few system calls as there can be; raises as `open_to_read`."""
    descriptor = open_to_read(path, root)
    try:
        content = b""
        while chunk := os.read(descriptor, 1 << 16):
            content += chunk
            if len(chunk) < 1 << 16:
                break
        return content
    finally:
        os.close(descriptor)


def _not_a_file(path: str, what: str) -> NotAFileError:
    return NotAFileError(f"{path} is {what}", what)


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return "gone"


def _is_below(real: str, folder: str) -> bool:
    return real.startswith(os.path.join(os.path.realpath(folder), ""))


def _may_read(path: str) -> bool:
    as_effective = os.access in os.supports_effective_ids
    return os.access(path, os.R_OK, effective_ids=as_effective)

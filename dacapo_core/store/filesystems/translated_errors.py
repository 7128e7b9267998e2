"""Errors of file systems, said as errors of a store: what, where, and the way out."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from dacapo_core.store.errors import (
    StoreError,
    StoreFullError,
    StoreNotWritableError,
    StoreUnreachableError,
)

NO_SUCH_BUCKET = "no such bucket; create it or correct the URL"
_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLIENT_LIBRARIES = {"botocore", "aiobotocore", "aiohttp", "google", "gcsfs", "azure", "adlfs"}


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Raise StoreUnreachableError for anything but a missing file.

    StoreFullError where what is read has no place in the folder of temporary files.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not is_missing_bucket(error):
            raise
        if not _is_foreign(error):
            raise
        if isinstance(error, OSError) and error.errno in _FULL:
            raise _temporary_file_error(error) from error
        raise StoreUnreachableError(f"cannot read {url}: {_reason(error)}") from error


@contextmanager
def writing(url: str) -> Iterator[None]:
    """Raise StoreFullError or StoreNotWritableError for anything but a file that exists."""
    try:
        yield
    except Exception as error:
        if is_already_there(error):
            raise FileExistsError(errno.EEXIST, "there already", url) from error
        if not _is_foreign(error):
            raise
        if isinstance(error, OSError) and error.errno in _FULL:
            full = StoreFullError(
                f"no space left to write {url}; nothing stored before is touched: "
                "free some space or prune, and store again"
            )
            full.errno = error.errno
            raise full from error
        refused = StoreNotWritableError(f"cannot write {url}: {_reason(error)}")
        refused.errno = getattr(error, "errno", None)
        raise refused from error


@contextmanager
def writing_temporary_file() -> Iterator[None]:
    """Raise StoreFullError or StoreNotWritableError that names the folder of temporary files."""
    try:
        yield
    except OSError as error:
        if not _is_foreign(error):
            raise
        raise _temporary_file_error(error) from error


def _temporary_file_error(error: OSError) -> StoreNotWritableError:
    """The bytes on their way to or from an object store have no room on this machine."""
    is_full = error.errno in _FULL
    said = (StoreFullError if is_full else StoreNotWritableError)(
        f"cannot write a temporary file in {_temporary_folder()}: "
        f"{'no space left' if is_full else _reason(error)}; nothing that is stored is touched: "
        "free some space there, or name another folder by TMPDIR"
    )
    said.errno = error.errno
    return said


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "TMPDIR, nor in any other folder for them"


def is_missing_bucket(error: BaseException) -> bool:
    """Whether an object store said that the bucket itself is missing."""
    return _code(error) == "NoSuchBucket"


def is_already_there(error: BaseException) -> bool:
    """Whether an exclusive create lost."""
    return isinstance(error, FileExistsError) or _code(error) in {
        "PreconditionFailed",
        "ConditionalRequestConflict",
    }


def _is_foreign(error: BaseException) -> bool:
    if isinstance(error, StoreError):
        return False
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in _CLIENT_LIBRARIES


def _code(error: BaseException | None) -> str | None:
    """The code that an S3 server gave, in the error or in what caused it."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code"))
        error = error.__cause__ or error.__context__
    return None


def _reason(error: BaseException) -> str:
    if is_missing_bucket(error):
        return NO_SUCH_BUCKET
    if isinstance(error, PermissionError):
        return f"permission denied ({error}); check the credentials or the folder's owner and mode"
    return f"{type(error).__name__}: {error}"

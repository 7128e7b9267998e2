"""Writing on object stores: one object, seen whole under its name or not at all."""

from __future__ import annotations

from typing import Any

from dacapo_core.store.errors import StoreNotWritableError
from dacapo_core.store.filesystems.temporary_file import Spool
from dacapo_core.store.filesystems.translated_errors import NO_SUCH_BUCKET

_S3 = {"s3", "s3a"}
_IN_BUCKETS = _S3 | {"gs", "gcs", "abfs", "az", "oss", "obs"}
_ATOMIC_PUT = _IN_BUCKETS | {"memory"}


def names_no_bucket(protocols: set[str], root: str) -> bool:
    """Whether a run's name would be taken for a bucket's."""
    return bool(protocols & _IN_BUCKETS) and not root.strip("/")


def require_bucket(fs: Any, protocols: set[str], root: str) -> None:
    """Some S3 servers make a bucket at the first write to it, and then reading finds none.

    Raises:
        StoreNotWritableError: there is no such bucket.
    """
    if not protocols & _S3:
        return
    bucket = fs.split_path(root)[0]
    try:
        fs.call_s3("head_bucket", Bucket=bucket)
    except FileNotFoundError:
        raise StoreNotWritableError(f"cannot write s3://{bucket}: {NO_SUCH_BUCKET}") from None
    except PermissionError:
        # one may be allowed to write and not to ask
        return


def put_object(
    fs: Any, protocols: set[str], content: bytes | Spool, path: str, beside: str
) -> None:
    """Write an object in place of any of this name.

    Args:
        beside: where it is written first on a backend that shows what is half-written.
    """
    if "memory" in protocols:
        fs.pipe_file(path, content if isinstance(content, bytes) else content.file_bytes())
    elif not protocols & _ATOMIC_PUT:
        for name in (beside, path):
            fs.makedirs(fs._parent(name), exist_ok=True)
        _put(fs, protocols, content, beside)
        fs.mv(beside, path)
    else:
        _put(fs, protocols, content, path)


def _put(fs: Any, protocols: set[str], content: bytes | Spool, path: str) -> None:
    if isinstance(content, bytes):
        fs.pipe_file(path, content)
    elif protocols & _S3:
        # parts in flight are held in memory
        fs.put_file(content.path, path, max_concurrency=4)
    else:
        fs.put_file(content.path, path)

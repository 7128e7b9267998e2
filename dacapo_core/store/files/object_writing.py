"""Putting whole objects: atomically, in whatever way the backend has."""

from __future__ import annotations

from typing import Any

from dacapo_core.store.files.spool import Spool

_ATOMIC_PUT = {"memory", "s3", "s3a", "gs", "gcs", "abfs", "az", "oss", "obs"}


def put_object(
    fs: Any, protocols: set[str], content: bytes | Spool, path: str, beside: str
) -> None:
    """Write an object in place of any of this name.

    Args:
        beside: where it may be written first, on a backend whose put is not atomic.
    """
    if "memory" in protocols:
        fs.pipe_file(path, content if isinstance(content, bytes) else content.file_bytes())
    elif not protocols & _ATOMIC_PUT:
        for each in (beside, path):
            fs.makedirs(fs._parent(each), exist_ok=True)
        _put(fs, content, beside)
        fs.mv(beside, path)
    elif protocols & {"s3", "s3a"}:
        # parts in flight are held in memory
        _put(fs, content, path, max_concurrency=4)
    else:
        _put(fs, content, path)


def _put(fs: Any, content: bytes | Spool, path: str, **options: Any) -> None:
    if isinstance(content, bytes):
        fs.pipe_file(path, content)
    else:
        fs.put_file(content.path, path, **options)

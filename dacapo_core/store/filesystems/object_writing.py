"""Writing on object stores: one object, seen whole under its name or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dacapo_core.store.errors import StoreNotWritableError
from dacapo_core.store.filesystems.temporary_file import TemporaryFile
from dacapo_core.store.filesystems.translated_errors import NO_SUCH_BUCKET

_IN_BUCKETS = {"s3", "gs", "gcs", "abfs", "az", "oss", "obs"}
_ATOMIC_PUT = _IN_BUCKETS | {"memory"}
_EXCLUSIVE_CREATE = {"file", "memory", "s3", "gs", "gcs", "abfs", "az"}
_UPLOAD_IS_DEAD_AFTER = timedelta(days=1)


def is_s3(fs: Any) -> bool:
    return "s3" in _protocols(fs)


def creates_exclusively(fs: Any) -> bool:
    """Whether of several that create one name at once exactly one wins."""
    return bool(_protocols(fs) & _EXCLUSIVE_CREATE)


def names_no_bucket(fs: Any, root: str) -> bool:
    """Whether a run's name would be taken for a bucket's."""
    return bool(_protocols(fs) & _IN_BUCKETS) and not root.strip("/")


def require_bucket(fs: Any, root: str) -> None:
    """Some S3 servers make a bucket at the first write to it, and then reading finds none.

    Raises:
        StoreNotWritableError: there is no such bucket.
    """
    if not is_s3(fs):
        return
    bucket = fs.split_path(root)[0]
    try:
        fs.call_s3("head_bucket", Bucket=bucket)
    except FileNotFoundError:
        raise StoreNotWritableError(f"cannot write s3://{bucket}: {NO_SUCH_BUCKET}") from None
    except PermissionError:
        # one may be allowed to write and not to ask
        return


def put_object(fs: Any, content: bytes | TemporaryFile, path: str, partial: str) -> None:
    """Write an object in place of any of this name.

    Args:
        partial: where it is written first on a backend that shows what is half-written.
    """
    if "memory" in _protocols(fs):
        fs.pipe_file(path, content if isinstance(content, bytes) else content.read_all())
    elif not _protocols(fs) & _ATOMIC_PUT:
        for name in (partial, path):
            fs.makedirs(fs._parent(name), exist_ok=True)
        _put(fs, content, partial)
        fs.mv(partial, path)
    else:
        _put(fs, content, path)


def _put(fs: Any, content: bytes | TemporaryFile, path: str) -> None:
    if isinstance(content, bytes):
        fs.pipe_file(path, content)
    elif is_s3(fs):
        # parts in flight are held in memory
        fs.put_file(content.path, path, max_concurrency=4)
    else:
        fs.put_file(content.path, path)


def abort_stale_uploads(fs: Any, folder: str) -> list[str]:
    """Abort the multipart uploads below a folder that began over a day ago; their paths."""
    if not is_s3(fs):
        return []
    bucket, prefix, _ = fs.split_path(folder)
    answer = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/")
    aborted = []
    for upload in answer.get("Uploads", []):
        if datetime.now(UTC) - upload["Initiated"] > _UPLOAD_IS_DEAD_AFTER:
            fs.call_s3(
                "abort_multipart_upload",
                Bucket=bucket,
                Key=upload["Key"],
                UploadId=upload["UploadId"],
            )
            aborted.append(f"{bucket}/{upload['Key']}")
    return aborted


def _protocols(fs: Any) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)

"""Deleting on object stores: in batches, with an answer for each object."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

_BATCH = 1000  # the most that S3 takes in one request
_STALE = timedelta(days=1)
_S3 = {"s3", "s3a"}


def delete_objects(fs: Any, protocols: set[str], paths: list[str]) -> dict[str, Exception]:
    """Delete; what could not be, with why. A missing object is no error."""
    failed: dict[str, Exception] = {}
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        try:
            if protocols & _S3:
                failed |= _delete_on_s3(fs, batch)
            else:
                failed |= _delete_one_by_one(fs, batch)
        except Exception as error:
            failed |= dict.fromkeys(batch, error)
    return failed


def _delete_on_s3(fs: Any, paths: list[str]) -> dict[str, Exception]:
    # not fs.rm: it expands globs in names, and drops the errors of single objects
    keys = {fs.split_path(path)[1]: path for path in paths}
    bucket = fs.split_path(paths[0])[0]
    answer = fs.call_s3(
        "delete_objects",
        Bucket=bucket,
        Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
    )
    for path in paths:
        fs.invalidate_cache(fs._parent(path))
    return {
        keys[error["Key"]]: OSError(f"{error.get('Code')}: {error.get('Message')}")
        for error in answer.get("Errors", [])
        if error.get("Code") != "NoSuchKey"
    }


def _delete_one_by_one(fs: Any, paths: list[str]) -> dict[str, Exception]:
    failed: dict[str, Exception] = {}
    for path in paths:
        try:
            fs.rm_file(path)
        except FileNotFoundError:
            continue
        except Exception as error:
            failed[path] = error
    return failed


def abort_stale_uploads(fs: Any, protocols: set[str], folder: str) -> list[str]:
    """Abort the multipart uploads below a folder that began over a day ago; their paths."""
    if not protocols & _S3:
        return []
    bucket, prefix, _ = fs.split_path(folder)
    answer = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/")
    aborted = []
    for upload in answer.get("Uploads", []):
        if datetime.now(UTC) - upload["Initiated"] > _STALE:
            fs.call_s3(
                "abort_multipart_upload",
                Bucket=bucket,
                Key=upload["Key"],
                UploadId=upload["UploadId"],
            )
            aborted.append(f"{bucket}/{upload['Key']}")
    return aborted

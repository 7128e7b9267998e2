"""Deleting files: several at once, with an answer for each. A missing file is no error."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dacapo_core.store.filesystems.object_writing import is_s3

_THREADS = 8
_WORTH_A_THREAD = 50  # local files
_OBJECTS_A_REQUEST = 1000  # the most that S3 takes


def delete_local(paths: Sequence[str]) -> dict[str, Exception]:
    """Delete files of this machine; path → error of those that could not be."""
    # each unlink waits for the disk, or for a file server's answer
    share = max(len(paths) // _THREADS + 1, _WORTH_A_THREAD)
    if len(paths) <= share:
        return _unlink(paths)
    failed: dict[str, Exception] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        shares = [paths[start : start + share] for start in range(0, len(paths), share)]
        for failed_of_share in pool.map(_unlink, shares):
            failed |= failed_of_share
    return failed


def _unlink(paths: Sequence[str]) -> dict[str, Exception]:
    failed: dict[str, Exception] = {}
    for path in paths:
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            failed[path] = error
    return failed


def delete_objects(fs: Any, paths: Sequence[str]) -> dict[str, Exception]:
    """Delete objects; path → error of those that could not be."""
    delete = _delete_on_s3 if is_s3(fs) else _delete_one_by_one
    failed: dict[str, Exception] = {}
    for start in range(0, len(paths), _OBJECTS_A_REQUEST):
        batch = paths[start : start + _OBJECTS_A_REQUEST]
        try:
            failed |= delete(fs, batch)
        except Exception as error:
            failed |= dict.fromkeys(batch, error)
    return failed


def _delete_on_s3(fs: Any, paths: Sequence[str]) -> dict[str, Exception]:
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


def _delete_one_by_one(fs: Any, paths: Sequence[str]) -> dict[str, Exception]:
    failed: dict[str, Exception] = {}
    for path in paths:
        try:
            fs.rm_file(path)
        except FileNotFoundError:
            continue
        except Exception as error:
            failed[path] = error
    return failed

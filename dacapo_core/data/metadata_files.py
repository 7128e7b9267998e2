"""Small JSON files of folders of arrays, read at once, wherever the folders are."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import fsspec
import tensorstore as ts

from dacapo_core.data.tensorstore_kvstore import key_value_store, request_retries

SECONDS = 60.0
"""How long a file system may take to answer, however many files are asked for."""

File = tuple[str, str]
"""A folder's URL and a name in it."""


class FilesRead(NamedTuple):
    """Files as they were found.

    Attributes:
        values: of those that are there.
        failure: why one could not be read; None if it is known of each whether it is there.
    """

    values: dict[File, Any]
    failure: Exception | None


def read_json(files: Sequence[File], storage_options: Mapping[str, Any]) -> FilesRead:
    """Read files, all at the same time.

    Args:
        storage_options: of fsspec's file system.
    """
    values: dict[File, Any] = {}
    failure: Exception | None = None
    for file, content in zip(files, _contents(files, storage_options), strict=True):
        try:
            found = content()
            if found is not None:
                values[file] = _parsed(file, found)
        except Exception as error:
            # each file system fails in its own way; a public bucket may deny what is not there
            failure = failure or error
    return FilesRead(values, failure)


def _parsed(file: File, content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(f"{'/'.join(file)} is not JSON: {error}") from error


def _contents(files: Sequence[File], storage_options: Mapping[str, Any]) -> list[Any]:
    """What gives each file's bytes, or None where there is none, once it is called."""
    stores: dict[str, Any] = {}
    for folder, _ in files:
        spec = key_value_store(folder, storage_options)
        if spec is None:
            return _through_fsspec(files, storage_options)
        if folder not in stores:
            stores[folder] = ts.KvStore.open(spec, context=_context())
    deadline = time.monotonic() + SECONDS

    def awaited(future: Any) -> Any:
        return future.result(timeout=max(0.0, deadline - time.monotonic()))

    opened = {folder: awaited(store) for folder, store in stores.items()}
    reading = [opened[folder].read(name) for folder, name in files]

    def content(future: Any) -> bytes | None:
        result = awaited(future)
        return result.value if result.state == "value" else None

    return [lambda future=future: content(future) for future in reading]


def _through_fsspec(files: Sequence[File], storage_options: Mapping[str, Any]) -> list[Any]:
    def content(folder: str, name: str) -> bytes | None:
        filesystem, path = fsspec.core.url_to_fs(f"{folder.rstrip('/')}/{name}", **storage_options)
        try:
            return filesystem.cat_file(path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    return [lambda folder=folder, name=name: content(folder, name) for folder, name in files]


@lru_cache
def _context() -> ts.Context:
    # a wrong address is reported in seconds; reading voxels is more patient
    return ts.Context(request_retries(3, "200ms", "1s"))


def explained(error: Exception) -> str:
    """Why reading failed, in one line, and where it helps what to do."""
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS:.0f} s; check the address and whether it is reachable"
    said = str(error) or type(error).__name__
    # what tensorstore appends is of no use to who reads it
    said = re.sub(r"\s*\[\w[\w ()-]*=(?:'(?:[^'\\]|\\.)*'|[^\]]*)\]", "", said)
    kind, _, rest = said.partition(": ")
    if re.fullmatch(r"[A-Z_]+", kind):
        said = rest
    if "PERMISSION_DENIED" in kind or "UNAUTHENTICATED" in kind:
        return (
            f"{said}; check the credentials in storage_options (key, secret, token, profile), "
            "or anon: true for a public bucket"
        )
    if "retry attempts failed" in said or kind == "UNAVAILABLE":
        return f"{said}; check the address and whether its server answers"
    if type(error) is not ValueError:
        said = f"{type(error).__name__}: {said}"
    return said

"""Downloading one file over fsspec: resumed where it stopped, whole and checked, or an error.

fsspec and pooch begin an interrupted file again. Here it grows under a name of its own, beside a
note of its source's size and version. Killed at any point, the next call goes on from there if the
source is unchanged and can (HTTP Range, or any file system that seeks), else begins again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from dacapo_core.experiments.starts.download_progress import download_progress
from dacapo_core.experiments.starts.download_source import (
    DownloadError,
    RemoteFile,
    Source,
    describe,
    is_transient,
)

logger = logging.getLogger(__name__)

# an attempt that brings fewer bytes counts as failed
PROGRESS = 1 << 20


@dataclass(frozen=True)
class Patience:
    """How long to bear with a source. Attempts count from the last that brought bytes."""

    attempts: int = 6
    stall_seconds: float = 60.0
    backoff_seconds: float = 1.0
    longest_backoff_seconds: float = 30.0


@dataclass(frozen=True)
class Downloaded:
    """A file that was downloaded whole."""

    path: Path
    url: str
    bytes: int
    sha256: str
    etag: str | None


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    check: Callable[[Path], None] | None = None,
    patience: Patience | None = None,
) -> Downloaded:
    """Fetch `url` to `target`, of which a part may be there already.

    Args:
        url: any fsspec URL.
        target: a local path; its folder is made. Beside it a ``.json`` names its source.
        sha256: the expected digest, where known.
        check: looks into the whole file; raises DownloadError if it is not what was wanted.

    Raises:
        DownloadError: not there, refused, not the right length or content, or too often
            interrupted. After an interruption the part stays, to go on from.
    """
    patience = patience or Patience()
    target.parent.mkdir(parents=True, exist_ok=True)
    failures, furthest = 0, 0
    while True:
        resumed = target.exists()
        try:
            source = Source(url, patience.stall_seconds)
            remote = source.info()
            _fetch(source, remote, target)
            return _checked(target, remote, sha256, check)
        except _DamagedError as error:
            # the part of a crash before may be to blame; of a whole file it is the source
            if not resumed:
                raise DownloadError(f"{url} is not the checkpoint: {error}") from None
            furthest = 0
            logger.warning("%s: %s; begun again", url, error)
            continue
        except DownloadError:
            raise
        except Exception as error:
            if not is_transient(error):
                raise DownloadError(f"{url} could not be fetched: {describe(error)}") from error
            problem = error
            size = target.stat().st_size if target.exists() else 0
            failures = 1 if size > furthest + PROGRESS else failures + 1
            furthest = max(furthest, size)
        if failures >= patience.attempts:
            raise DownloadError(
                f"{url} could not be fetched in {patience.attempts} attempts: "
                f"{describe(problem)}. "
                f"{furthest:,} bytes are kept; trying again goes on from there"
            ) from problem
        wait = min(
            patience.backoff_seconds * 2 ** max(failures - 1, 0), patience.longest_backoff_seconds
        ) * random.uniform(0.5, 1)
        logger.warning("%s: %s; again in %.1f s", url, describe(problem), wait)
        time.sleep(wait)


class _DamagedError(DownloadError):
    """The bytes are all there and are not the right ones."""


def _fetch(source: Source, remote: RemoteFile, target: Path) -> None:
    note = target.with_name(target.name + ".json")
    if remote.size == 0:
        raise DownloadError(f"{source.url} is empty")
    known = _read_note(note)
    if known != asdict(remote) or not target.exists():
        target.unlink(missing_ok=True)
        note.write_text(json.dumps(asdict(remote)))
    offset = target.stat().st_size if target.exists() else 0
    if remote.size is not None and offset == remote.size:
        return
    if remote.size is None or offset > remote.size:
        offset = 0
    stream, start = source.open(offset, remote)
    with closing(stream), target.open("r+b" if offset else "wb") as file:
        # a server that knows no ranges begins again
        file.seek(start)
        file.truncate()
        with download_progress(source.url, remote.size, start) as advance:
            while chunk := stream.read(source.read_size):
                if file.tell() == 0 and _looks_like_html(chunk):
                    raise DownloadError(
                        f"{source.url} is a web page, not a checkpoint: {chunk[:60]!r}. A log-in "
                        "page or the wrong address? See DACAPO_COSEM_URL"
                    )
                file.write(chunk)
                advance(len(chunk))
                if remote.size is not None and file.tell() > remote.size:
                    raise DownloadError(
                        f"{source.url} goes on past the {remote.size:,} bytes that it announces"
                    )
        size = file.tell()
    if remote.size is not None and size != remote.size:
        raise ConnectionError(f"ended after {size:,} of {remote.size:,} bytes")


def _checked(
    target: Path,
    remote: RemoteFile,
    sha256: str | None,
    check: Callable[[Path], None] | None,
) -> Downloaded:
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        if sha256 is not None and digest != sha256:
            raise DownloadError(f"its SHA-256 is {digest}, expected {sha256}")
        if check is not None:
            check(target)
    except DownloadError as error:
        discard(target)
        raise _DamagedError(str(error)) from error
    return Downloaded(target, remote.url, os.path.getsize(target), digest, remote.etag)


def discard(target: Path) -> None:
    """Remove a download and its note."""
    target.unlink(missing_ok=True)
    target.with_name(target.name + ".json").unlink(missing_ok=True)


def _read_note(note: Path) -> object:
    try:
        return json.loads(note.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _looks_like_html(chunk: bytes) -> bool:
    return chunk.lstrip()[:1] == b"<"

"""The source of a download, over fsspec: its version, its bytes, and which errors pass."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec

from dacapo_core.settings import get_settings

HTTP = ("http", "https")
# of one answer over HTTP; aiohttp loses what it has buffered when a connection breaks
PIECE = 256 << 10
# elsewhere each read is a request
REQUEST = 16 << 20
# asks to come again: request timeout, too early, too many requests
PASSING = (408, 425, 429)
# this side's disk, not the source
LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class DownloadError(OSError):
    """A file could not be fetched, or is not what it should be. Nothing was stored."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at its source. `etag` is what changes with its content; `size` is in bytes."""

    url: str
    size: int | None
    etag: str | None


class Source:
    """A URL to read from. A source that sends nothing for `stall_seconds` has failed.

    Attributes:
        read_size: bytes to read at once.
    """

    def __init__(self, url: str, stall_seconds: float) -> None:
        self.url = url
        options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
        protocol = fsspec.core.split_protocol(url)[0]
        if protocol in HTTP:
            from aiohttp import ClientTimeout

            # certificates are checked; proxies come from the environment
            options["client_kwargs"] = {
                "trust_env": True,
                "timeout": ClientTimeout(
                    total=None, sock_connect=stall_seconds, sock_read=stall_seconds
                ),
            }
        elif protocol == "s3":
            options |= get_settings().options_for(url)
        self._http = protocol in HTTP
        self.read_size = PIECE if self._http else REQUEST
        self._fs, self._path = fsspec.core.url_to_fs(url, **options)

    def info(self) -> RemoteFile:
        """Size and version of the file.

        Raises:
            FileNotFoundError, DownloadError: it is not there, or is a web page.
        """
        info = self._fs.info(self._path)
        if info.get("type") == "directory":
            raise DownloadError(f"{self.url} is a folder, not a file")
        if str(info.get("mimetype", "")).startswith("text/html"):
            raise DownloadError(
                f"{self.url} is answered with a web page, not a checkpoint. A log-in page or the "
                "wrong address? See DACAPO_COSEM_URL"
            )
        version = [info[key] for key in ("ETag", "Last-Modified", "LastModified") if info.get(key)]
        version += [info["mtime"]] if "mtime" in info else []
        return RemoteFile(self.url, info.get("size"), str(version[0]) if version else None)

    def open(self, offset: int, remote: RemoteFile) -> tuple[Any, int]:
        """A file object, to be closed, and the offset that it reads from.

        That is `offset`, or 0 if the source cannot begin elsewhere.
        """
        if not self._http:
            file = self._fs.open(self._path, "rb", cache_type="none")
            file.seek(offset)
            return file, offset
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if remote.etag is not None and not remote.etag.startswith("W/"):
                headers["If-Range"] = remote.etag
        file = self._fs.open(self._path, "rb", block_size=0, size=remote.size, headers=headers)
        if file.r.status != 206:
            offset = 0
        length = file.r.content_length
        if remote.size is not None and length is not None and offset + length != remote.size:
            file.close()
            raise DownloadError(
                f"{self.url} was announced with {remote.size:,} bytes and is sent with "
                f"{offset + length:,}"
            )
        return file, offset


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed in a while."""
    import ssl

    for each in _causes(error):
        if isinstance(each, OSError) and each.errno in LOCAL:
            return False
        if (status := _http_status(each)) is not None:
            return status >= 500 or status in PASSING
        if isinstance(each, ssl.SSLError | DownloadError | PermissionError):
            return False
    innermost = list(_causes(error))[-1]
    if isinstance(innermost, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return False
    return isinstance(innermost, OSError | asyncio.TimeoutError | EOFError) or type(
        innermost
    ).__module__.startswith(("aiohttp", "botocore", "aiobotocore"))


def describe(error: BaseException) -> str:
    """An error in words, by the source's own answer where it gave one."""
    for each in _causes(error):
        if (status := _http_status(each)) is not None:
            return f"answered with {status} {getattr(each, 'message', '')}".rstrip()
    innermost = list(_causes(error))[-1]
    return f"{type(innermost).__name__}: {innermost}"[:300].rstrip(": ")


def _http_status(error: BaseException) -> int | None:
    # a malformed answer has a status of aiohttp's own making, and no request
    return getattr(error, "status", None) if hasattr(error, "request_info") else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__

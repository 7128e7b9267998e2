"""How tensorstore reaches what fsspec's URLs and options name."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec.config

# options of fsspec that change how it reads, not what
_OF_NO_MATTER = {
    "asynchronous",
    "auto_mkdir",
    "block_size",
    "cache_regions",
    "cache_type",
    "config_kwargs",
    "default_block_size",
    "default_cache_type",
    "default_fill_cache",
    "max_concurrency",
    "skip_instance_cache",
    "use_listings_cache",
    "use_ssl",
}


def request_retries(most: int, first_delay: str, longest_delay: str) -> dict[str, Any]:
    """Of a tensorstore context: how often a server that does not answer is asked again."""
    retries = {"max_retries": most, "initial_delay": first_delay, "max_delay": longest_delay}
    return {f"{kind}_request_retries": retries for kind in ("http", "s3", "gcs")}


def key_value_store(url: str, storage_options: Mapping[str, Any]) -> dict[str, Any] | None:
    """tensorstore's description of a folder; None where only fsspec reaches it.

    Args:
        url: a path, or a URL of any protocol of fsspec.
        storage_options: as fsspec's file system of that protocol takes them.
    """
    protocol, separator, rest = url.partition("://")
    if separator and "::" in url:
        # one file system within another
        return None
    given = {**fsspec.config.conf.get(protocol, {}), **storage_options}
    options = {k: v for k, v in given.items() if k not in _OF_NO_MATTER}
    if not separator or protocol in ("file", "local"):
        path = os.path.abspath(rest if separator else url)
        return None if options else {"driver": "file", "path": f"{path.rstrip('/')}/"}
    if protocol in ("http", "https"):
        return _http(url, options)
    if protocol in ("s3", "s3a"):
        return _s3(rest, options)
    if protocol in ("gs", "gcs"):
        return _gcs(rest, options)
    return None


def _http(url: str, options: dict[str, Any]) -> dict[str, Any] | None:
    client = dict(options.pop("client_kwargs", None) or {})
    headers = {**(options.pop("headers", None) or {}), **(client.pop("headers", None) or {})}
    if options or client:
        return None
    # what is encoded already stays as it is
    base_url = quote(url.rstrip("/"), safe=":/?&=%+,;@!$'()*~[]")
    spec = {"driver": "http", "base_url": f"{base_url}/"}
    return {**spec, "headers": [f"{k}: {v}" for k, v in headers.items()]} if headers else spec


def _gcs(rest: str, options: dict[str, Any]) -> dict[str, Any] | None:
    bucket, _, path = rest.partition("/")
    if options == {"token": "anon"}:
        return _http(f"https://storage.googleapis.com/{bucket}/{quote(path)}", {})
    return None if options else {"driver": "gcs", "bucket": bucket, "path": _folder(path)}


def _s3(rest: str, options: dict[str, Any]) -> dict[str, Any] | None:
    bucket, _, path = rest.partition("/")
    client = dict(options.pop("client_kwargs", None) or {})
    endpoint = options.pop("endpoint_url", None) or client.pop("endpoint_url", None)
    endpoint = (
        endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    )
    region = client.pop("region_name", None)
    spec: dict[str, Any] = {"driver": "s3", "bucket": bucket, "path": _folder(path)}
    if options.pop("requester_pays", False):
        spec["requester_pays"] = True
    if endpoint:
        # a server of one's own has no region to ask for
        spec |= {"endpoint": endpoint, "aws_region": region or "us-east-1"}
    elif region:
        spec["aws_region"] = region
    key, secret, token = (options.pop(name, None) for name in ("key", "secret", "token"))
    profile = options.pop("profile", None)
    if options.pop("anon", False):
        spec["aws_credentials"] = {"type": "anonymous"}
    elif key and secret:
        file = _credentials_file(key, secret, token)
        spec["aws_credentials"] = {
            "type": "profile",
            "profile": "default",
            "credentials_file": file,
            "config_file": os.devnull,
        }
    elif profile:
        spec["aws_credentials"] = {"type": "profile", "profile": profile}
    return None if options or client else spec


def _folder(path: str) -> str:
    """As object stores write it; the whole bucket is empty."""
    inside = path.strip("/")
    return f"{inside}/" if inside else ""


@lru_cache
def _credentials_file(key: str, secret: str, token: str | None) -> str:
    """tensorstore takes keys from files only: one in memory, where the system has those."""
    lines = ["[default]", f"aws_access_key_id = {key}", f"aws_secret_access_key = {secret}"]
    if token:
        lines.append(f"aws_session_token = {token}")
    text = "\n".join(lines) + "\n"
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("credentials")
        os.write(descriptor, text.encode())
        return f"/proc/self/fd/{descriptor}"
    # readable by its owner only
    descriptor, file = tempfile.mkstemp()
    atexit.register(Path(file).unlink, missing_ok=True)
    with open(descriptor, "w") as opened:
        opened.write(text)
    return file

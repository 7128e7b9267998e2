"""Opening the file system of a path or URL; its options are looked at before any request."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import fsspec

from dacapo_core.store.errors import StorageOptionsError


def open_filesystem(base: str, storage_options: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system, and the root in it.

    Raises:
        ValueError: fsspec knows no such protocol, or its package is not installed.
        StorageOptionsError: the file system does not know one of the options.
    """
    # listings cached by fsspec would miss what other processes write and delete
    options = {"use_listings_cache": False, **storage_options}
    try:
        fs, root = fsspec.core.url_to_fs(os.path.expanduser(base), **options)
        if "s3" in fs.protocol:
            _check_s3_options(fs)
    except ImportError as error:
        raise ValueError(f"no file system for basedir {base!r}: {error}") from error
    except TypeError as error:
        raise StorageOptionsError(
            f"the storage options do not fit {base!r}: {error}; they are options of fsspec's file "
            f"system {base.partition('://')[0]!r}"
        ) from error
    return fs, root


def _check_s3_options(fs: Any) -> None:
    """s3fs takes any, and its client stumbles over them at each request."""
    from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
    from aiobotocore.session import AioSession  # type: ignore[import-untyped]
    from botocore.session import Session  # type: ignore[import-untyped]

    inspect.signature(AioSession).bind(**fs.kwargs)
    inspect.signature(Session.create_client).bind(None, "s3", **fs.client_kwargs)
    AioConfig(**fs.config_kwargs)

"""Opening the file system of a path or URL; its options are looked at before any request."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import fsspec

from dacapo_core.store.errors import StorageOptionsError
from dacapo_core.store.filesystems.location import Place


def open_filesystem(place: Place, storage_options: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system, and the root in it.

    Raises:
        ValueError: the package of the file system is not installed.
        StorageOptionsError: the file system does not know one of the options.
    """
    protocol, address = place
    # listings cached by fsspec would miss what other processes write and delete
    options = {"use_listings_cache": False, **storage_options}
    try:
        # not url_to_fs: it takes `::` in a name for a chain of file systems
        kind = fsspec.get_filesystem_class(protocol)
        fs = kind(**{**kind._get_kwargs_from_urls(address), **options})
        root = address if protocol == "file" else kind._strip_protocol(address)
        if "s3" in fs.protocol:
            _check_s3_options(fs)
    except ImportError as error:
        raise ValueError(f"no file system for basedir {address!r}: {error}") from error
    except TypeError as error:
        raise StorageOptionsError(
            f"the storage options do not fit {address!r}: {error}; they are options of fsspec's "
            f"file system {protocol!r}"
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

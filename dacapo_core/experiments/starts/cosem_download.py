"""Downloading a published checkpoint into a store: once, whole, and with its digest on record."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dacapo_core.experiments.starts.download import Downloaded, Patience, discard, download
from dacapo_core.experiments.starts.download_source import DownloadError
from dacapo_core.experiments.starts.downloaded_checkpoint import check_checkpoint, storable
from dacapo_core.settings import get_settings
from dacapo_core.store import layout
from dacapo_core.store.errors import LeaseHeldError
from dacapo_core.store.filesystems.translated_errors import reading
from dacapo_core.store.filesystems.unbuffered_files import write_all
from dacapo_core.store.records.lease import Lease
from dacapo_core.store.records.strict_json import parsed_json

if TYPE_CHECKING:
    from dacapo_core.store.filesystems.filesystem import StoreFilesystem
    from dacapo_core.store.local_weights_store import LocalWeightsStore

logger = logging.getLogger(__name__)


def fetch_checkpoint(
    store: LocalWeightsStore,
    setup: str,
    iteration: int,
    *,
    sha256: str | None = None,
    damaged: bool = False,
    patience: Patience | None = None,
) -> None:
    """Make sure that ``<setup>/checkpoints/iterations/<iteration>`` is in the store.

    If it is not, it is downloaded from the settings' `cosem_url`. Of several callers, in one
    process or on several machines, one downloads and the others wait; if it dies, another goes on.

    Args:
        sha256: the file's digest, where known; default that of an earlier download, if any.
        damaged: the one in the store is damaged: replace it.
        patience: with the source.

    Raises:
        DownloadError: it could not be fetched or is not what it should be; nothing is stored.
    """

    def there() -> bool:
        return not damaged and iteration in store.iterations(setup)

    if there():
        return
    with _alone(store, setup, iteration, there):
        if there():
            return
        url = f"{get_settings().cosem_url.rstrip('/')}/{setup}/{iteration}"
        logger.info("fetching %s into %s", url, store.basedir)
        filesystem = store.filesystem
        known = sha256 or recorded_download(filesystem, setup, iteration).get("sha256")
        part = _part_path(filesystem, setup, iteration)
        try:
            fetched = download(
                url,
                part,
                sha256=known,
                check=check_checkpoint,
                patience=patience,
            )
        except DownloadError as error:
            raise DownloadError(
                f"{error}\nCOSEM checkpoints come from DACAPO_COSEM_URL, now "
                f"{get_settings().cosem_url}; a copy of {setup}/{iteration} that you have can be "
                f"put at {filesystem.url(layout.checkpoint_path(setup, iteration))}"
                + (
                    f". The digest of an earlier download is in "
                    f"{filesystem.url(_record_path(setup, iteration))}"
                    if known and sha256 is None
                    else ""
                )
            ) from error
        _record(filesystem, setup, iteration, fetched)
        path = layout.checkpoint_path(setup, iteration)
        with (
            storable(part) as whole,
            whole.open("rb") as file,
            filesystem.replacing(path) as stored,
        ):
            while chunk := _read(file):
                write_all(stored, chunk)
        discard(part)
        logger.info("%s is in the store: %s bytes", url, f"{fetched.bytes:,}")


def _read(file: BinaryIO) -> bytes:
    # within the writing of the store: an error of the downloaded file is to be said as such
    with reading(str(file.name)):
        return file.read(16 << 20)


@contextmanager
def _alone(
    store: LocalWeightsStore, setup: str, iteration: int, there: Callable[[], bool]
) -> Iterator[None]:
    """Wait until no one else downloads for this setup, or the checkpoint is there."""
    lease = Lease(store.filesystem, setup, owner=f"download of {setup}/{iteration}")
    waiting = False
    while True:
        try:
            lease.acquire()
            break
        except LeaseHeldError as held:
            if there():
                yield
                return
            if not waiting:
                logger.info("%s/%s is being fetched by another: %s", setup, iteration, held)
            waiting = True
            time.sleep(0.5)
    try:
        yield
    finally:
        lease.release()


def _part_path(filesystem: StoreFilesystem, setup: str, iteration: int) -> Path:
    """Where the file grows: in the store where that is local, else in the user's cache."""
    name = f"download~{iteration}"
    if filesystem.is_local:
        return Path(filesystem.local_path(f"{layout.partial_folder(setup)}/{name}"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    store = hashlib.sha256(filesystem.basedir.encode()).hexdigest()[:16]
    return cache / "dacapo" / "downloads" / store / setup / name


def _record_path(setup: str, iteration: int) -> str:
    return f"{layout.records_folder(setup)}/downloads/{iteration}.json"


def _record(filesystem: StoreFilesystem, setup: str, iteration: int, fetched: Downloaded) -> None:
    record = {
        "url": fetched.url,
        "bytes": fetched.bytes,
        "sha256": fetched.sha256,
        "etag": fetched.etag,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    filesystem.write_bytes(_record_path(setup, iteration), json.dumps(record, indent=1).encode())


def recorded_download(filesystem: StoreFilesystem, setup: str, iteration: int) -> dict[str, Any]:
    """What an earlier download of the same checkpoint left on record."""
    try:
        record = parsed_json(filesystem.read_bytes(_record_path(setup, iteration)))
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}

"""Whether a file that was fetched is a checkpoint, whole and safe to load."""

from __future__ import annotations

import zipfile
from pathlib import Path

from dacapo_core.experiments.starts.download_source import DownloadError


def check_checkpoint(path: Path) -> None:
    """Read all of a torch file against the checksums of its zip, and look for its model.

    Raises:
        DownloadError: not a torch file, damaged, or without a model.
    """
    with path.open("rb") as file:
        begin = file.read(40)
    if not zipfile.is_zipfile(path):
        raise DownloadError(f"it is no torch checkpoint: it begins with {begin!r}")
    try:
        _check_sums(path)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise DownloadError(f"it is damaged: {error}") from error
    _check_model(path)


def _check_sums(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            # torch can be told to leave checksums out; they are 0 then
            if entry.CRC == 0:
                continue
            with archive.open(entry) as content:
                while content.read(4 << 20):
                    pass


def _check_model(path: Path) -> None:
    from dacapo_core.store.safe_loading import load_state

    state = load_state(path)
    if not state:
        raise DownloadError("it holds no model")

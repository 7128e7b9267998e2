"""Checking that a downloaded file is a checkpoint, whole and safe to load."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dacapo_core.experiments.starts.download_source import DownloadError


def check_checkpoint(path: Path) -> None:
    """Compare all of a torch file with the checksums of its zip, and look for its model.

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
    if not isinstance(state_of(path).get("model"), Mapping):
        raise DownloadError("it holds no model")


def state_of(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, mapped into memory.

    Raises:
        DownloadError: it cannot be loaded, or only by running what it says.
    """
    import torch

    from dacapo_core.store.checkpoint_format.checkpoint_id import CheckpointId
    from dacapo_core.store.checkpoint_format.safe_loading import load_checkpoint
    from dacapo_core.store.errors import NotACheckpointError, StoreError

    try:
        return load_checkpoint(str(path), CheckpointId("", 0, str(path))).state
    except NotACheckpointError:
        # a model without an optimizer is good enough to start from
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return state if isinstance(state, dict) else {}
    except StoreError as error:
        raise DownloadError(str(error)) from error


@contextmanager
def storable(path: Path) -> Iterator[Path]:
    """The checkpoint as a store holds it: with an optimizer's state, empty if it came with none."""
    state = state_of(path)
    if "optimizer" in state:
        yield path
        return
    import torch

    whole = path.with_name(path.name + "~with-optimizer")
    try:
        torch.save({**state, "optimizer": {}}, whole)
        yield whole
    finally:
        whole.unlink(missing_ok=True)

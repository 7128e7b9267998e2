"""What a run is trained with and where it began: run, start and intensities."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dacapo_core.data.intensity_range import Intensities
from dacapo_core.store import layout
from dacapo_core.store.errors import DamagedRecordError, NotAFileError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.strict_json import dumped


def write_run_config(filesystem: StoreFilesystem, run: str, config: Mapping[str, Any]) -> None:
    """Keep the RunConfig that a run is trained with."""
    _write(filesystem, layout.run_config_path(layout.check_run_name(run)), config)


def read_run_config(filesystem: StoreFilesystem, run: str) -> dict[str, Any] | None:
    """The RunConfig that a run was trained with; None for one of DaCapo's own runs.

    Raises:
        DamagedRecordError: it cannot be read.
    """
    return _read(filesystem, layout.run_config_path(layout.check_run_name(run)))


def write_start_report(filesystem: StoreFilesystem, run: str, report: Mapping[str, Any]) -> None:
    """Keep the loading report of where a run began."""
    _write(filesystem, layout.start_report_path(layout.check_run_name(run)), report)


def read_start_report(filesystem: StoreFilesystem, run: str) -> dict[str, Any] | None:
    """The loading report of where a run began; None when it began from scratch.

    Raises:
        DamagedRecordError: it cannot be read.
    """
    return _read(filesystem, layout.start_report_path(layout.check_run_name(run)))


def write_intensities(filesystem: StoreFilesystem, run: str, intensities: Intensities) -> None:
    """Keep what becomes of raw values."""
    _write(filesystem, layout.intensities_path(layout.check_run_name(run)), intensities.to_json())


def read_intensities(filesystem: StoreFilesystem, run: str) -> Intensities | None:
    """What becomes of raw values; None of a run that began before it was kept.

    Raises:
        DamagedRecordError: it cannot be read.
    """
    path = layout.intensities_path(layout.check_run_name(run))
    found = _read(filesystem, path)
    try:
        return None if found is None else Intensities.from_json(found)
    except ValueError as error:
        raise DamagedRecordError(f"{filesystem.url(path)} cannot be read: {error}") from None


def _write(filesystem: StoreFilesystem, path: str, value: Mapping[str, Any]) -> None:
    filesystem.write_bytes(path, dumped(value, path, indent=1))


def _read(filesystem: StoreFilesystem, path: str) -> dict[str, Any] | None:
    try:
        content = filesystem.read_bytes(path)
    except FileNotFoundError:
        return None
    except NotAFileError as error:
        raise DamagedRecordError(str(error)) from None
    try:
        value = json.loads(content)
    except ValueError as error:
        raise DamagedRecordError(f"{filesystem.url(path)} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DamagedRecordError(f"{filesystem.url(path)} is not a JSON object")
    return value

"""The records of which a run has one: its configuration, its loading report, its intensities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dacapo_core.store import layout
from dacapo_core.store.errors import DamagedRecordError, NotAFileError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.strict_json import dumped, parsed_json


def write_run_record(
    filesystem: StoreFilesystem, run: str, name: str, value: Mapping[str, Any]
) -> None:
    """Write a record of a run, in place of the one before.

    Raises:
        InvalidValueError: JSON has nothing for a value in it; names the value.
    """
    path = layout.run_record_path(layout.check_run_name(run), name)
    filesystem.write_bytes(path, dumped(value, path, indent=1))


def read_run_record(filesystem: StoreFilesystem, run: str, name: str) -> dict[str, Any] | None:
    """A record of a run; None where there is none.

    Raises:
        DamagedRecordError: it cannot be read.
    """
    path = layout.run_record_path(layout.check_run_name(run), name)
    try:
        content = filesystem.read_bytes(path)
    except FileNotFoundError:
        return None
    except NotAFileError as error:
        raise DamagedRecordError(str(error)) from None
    try:
        value = parsed_json(content)
    except ValueError as error:
        raise DamagedRecordError(f"{filesystem.url(path)} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DamagedRecordError(f"{filesystem.url(path)} is not a JSON object")
    return value

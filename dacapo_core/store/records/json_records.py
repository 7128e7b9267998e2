"""Records as JSON files: written from a model and read as one."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from dacapo_core.store.filesystems.filesystem import StoreFilesystem

Kind = TypeVar("Kind", bound=BaseModel)


def write_json(filesystem: StoreFilesystem, path: str, record: BaseModel) -> None:
    """Write a record in place of any before it; what is None is left out."""
    filesystem.write_bytes(path, record.model_dump_json(exclude_none=True).encode())


def parsed(kind: type[Kind], content: bytes) -> Kind | None:
    """The record in a file; None where it cannot be read."""
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        return None


def read_json_files(
    filesystem: StoreFilesystem, folder: str, kind: type[Kind]
) -> tuple[list[Kind], list[str]]:
    """All records of a folder by the order of their names, and the URLs of unreadable ones.

    Files that are as they were at the last call are not read again.
    """
    files = [file for file in filesystem.list_files(folder) if file.name.endswith(".json")]
    contents = filesystem.read_listed(folder, files)
    records = {path: parsed(kind, contents[path]) for path in sorted(contents)}
    damaged = [filesystem.url(path) for path, record in records.items() if record is None]
    return [record for record in records.values() if record is not None], damaged

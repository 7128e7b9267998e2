"""What the last verification of a checkpoint found: ``records/damaged``, ``records/verified``.

A finding holds for the file that was verified, not for one that has replaced it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from dacapo_core.store import layout
from dacapo_core.store.errors import DamagedCheckpointError
from dacapo_core.store.filesystems.file_info import FileInfo
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.checkpoint_identity import is_same_file
from dacapo_core.store.records.flag import Flag
from dacapo_core.store.records.json_records import Kind, parsed, write_json


class _Finding(Flag):
    """Of a verification, about the file of this size, modification time and version."""

    size: int
    modified: float
    version: int | str | None = None

    def is_of(self, size: int, stored: datetime, version: int | str | None) -> bool:
        """Whether it is about this file, not one that it has replaced."""
        # by the time locally: a moved store keeps its times, and not its inodes
        known = self.version if isinstance(self.version, str) else None
        then = datetime.fromtimestamp(self.modified, UTC)
        return is_same_file((self.size, then, known), (size, stored, version))


class Damage(_Finding):
    """What a verification found wrong."""

    what: str


class Verified(_Finding):
    """A verification found the file whole."""


def note_verification(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    file: FileInfo,
    damage: str | None,
    *,
    by: str | None = None,
) -> None:
    """Remember what a verification found, in place of what an earlier one did.

    Args:
        file: as it was before it was verified; the note is about this file and no later one.
        damage: what is wrong with it; None: it is whole.
    """
    damaged, verified = layout.DAMAGED.path(run, iteration), layout.VERIFIED.path(run, iteration)
    note: Damage | Verified
    if damage is None:
        path, void = verified, damaged
        note = Verified(size=file.size, modified=file.modified, version=file.version, by=by)
    else:
        path, void = damaged, verified
        note = Damage(
            size=file.size, modified=file.modified, version=file.version, by=by, what=damage
        )
    write_json(filesystem, path, note)
    filesystem.delete_all([void])


def read_verified(filesystem: StoreFilesystem, run: str) -> dict[int, Verified]:
    """Iteration → the last verification that found it whole; perhaps of a file since replaced."""
    found = _read_flags(filesystem, layout.VERIFIED.of(run), Verified)
    return {iteration: note for iteration, note in found.items() if note is not None}


def read_damage(filesystem: StoreFilesystem, run: str) -> dict[int, Damage | None]:
    """Iteration → the last verification that found it damaged; None for an unreadable note."""
    return _read_flags(filesystem, layout.DAMAGED.of(run), Damage)


def _read_flags(
    filesystem: StoreFilesystem, folder: str, kind: type[Kind]
) -> dict[int, Kind | None]:
    found = {}
    files = filesystem.list_files(folder)
    for path, content in filesystem.read_listed(folder, files).items():
        number = layout.parse_numbered_record(path.rpartition("/")[2])
        if number is not None:
            found[number[0]] = parsed(kind, content)
    return found


def known_damage(file: FileInfo, note: Damage | None) -> str | None:
    """What is known to be wrong with a checkpoint, from its listing and its note."""
    stored = datetime.fromtimestamp(file.modified, UTC)
    if note is not None and note.is_of(file.size, stored, file.version):
        return note.what
    return "the file is empty" if file.size == 0 else None


def require_no_damage(
    filesystem: StoreFilesystem, run: str, iteration: int, file: FileInfo
) -> None:
    """
    Raises:
        DamagedCheckpointError: the checkpoint is on record as damaged.
    """
    contents = filesystem.read_many([layout.DAMAGED.path(run, iteration)])
    note = next((parsed(Damage, content) for content in contents.values()), None)
    damage = known_damage(file, note)
    if damage is not None:
        raise DamagedCheckpointError(
            f"checkpoint {iteration} of run {run!r} is on record as damaged: {damage}",
            run=run,
            iteration=iteration,
            path=filesystem.url(layout.checkpoint_path(run, iteration)),
        )

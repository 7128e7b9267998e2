"""The flags on a run's checkpoints: pinned, waiting for a validation, marked as pruned, damaged.

One object a flag. The iteration is in its name, so that a flag whose content is damaged still
protects its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dacapo_core.store import layout
from dacapo_core.store.errors import MissingCheckpointError, MissingRecordError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.prune_intents import require_checkpoint, settle, wait_for_pruners
from dacapo_core.store.records.checkpoint_identity import SaidOfBytes
from dacapo_core.store.records.flag import Flag
from dacapo_core.store.records.json_records import parsed, write_json
from dacapo_core.store.records.present_checkpoints import identify
from dacapo_core.store.records.verification_records import Damage

RESTORED = "restored by hand"
"""Why a checkpoint is pinned that a person has brought back."""


class Pin(Flag, SaidOfBytes):
    """Kept by hand, or because ``child`` starts from it and has no checkpoint yet."""

    why: str | None = None
    child: str | None = None

    def __str__(self) -> str:
        if self.child is not None:
            return f"start of run {self.child}, pinned by it"
        return "pinned" + (f": {self.why}" if self.why else "")


class PendingRequest(Flag):
    """Waits for a requested validation, until ``expires``."""

    expires: datetime

    def __str__(self) -> str:
        return f"waiting for its validation until {self.expires:%Y-%m-%d %H:%M} UTC"


class Mark(Flag):
    """Pruned, and within its grace period: loadable until ``reclaim_after`` at least.

    Attributes:
        size, stored, version: of the file it is about; one stored later is not marked.
    """

    size: int
    stored: datetime
    version: int | str | None = None
    reclaim_after: datetime
    reasons: list[str]
    operation: str

    def __str__(self) -> str:
        return (
            f"pruned {self.time:%Y-%m-%d %H:%M}, "
            f"reclaimed after {self.reclaim_after:%Y-%m-%d %H:%M} UTC"
        )


@dataclass(frozen=True)
class CheckpointFlags:
    """All flags of a run, by iteration; None stands for one that cannot be read."""

    pins: Mapping[int, list[Pin | None]] = field(default_factory=dict)
    pending: Mapping[int, PendingRequest | None] = field(default_factory=dict)
    marks: Mapping[int, Mark | None] = field(default_factory=dict)
    damaged: Mapping[int, Damage | None] = field(default_factory=dict)

    def protections(self, now: datetime) -> dict[int, list[str]]:
        """Iteration → why it may not be pruned."""
        found: dict[int, list[str]] = {}
        for iteration, pins in self.pins.items():
            found[iteration] = [str(pin or "pinned") for pin in pins]
        for iteration, request in self.pending.items():
            if request is None:
                found.setdefault(iteration, []).append("waiting for its validation")
            elif now < request.expires:
                found.setdefault(iteration, []).append(str(request))
        return found


def read_flags(filesystem: StoreFilesystem, run: str) -> CheckpointFlags:
    """All flags of a run: one listing for each kind, one concurrent read of all."""
    folders: dict[type[Flag], str] = {
        Pin: layout.PINS.of(run),
        PendingRequest: layout.PENDING.of(run),
        Mark: layout.MARKED.of(run),
        Damage: layout.DAMAGED.of(run),
    }
    paths: dict[str, tuple[type[Flag], int]] = {}
    for kind, folder in folders.items():
        for name in filesystem.file_names(folder):
            number = layout.parse_numbered_record(name)
            if number is not None:
                paths[f"{folder}/{name}"] = (kind, number[0])
    contents = filesystem.read_many(paths)
    pins: dict[int, list[Pin | None]] = {}
    others: dict[type[Flag], dict[int, Flag | None]] = {kind: {} for kind in folders}
    for path, content in contents.items():
        kind, iteration = paths[path]
        flag = parsed(kind, content)
        if kind is Pin:
            pins.setdefault(iteration, []).append(flag)  # type: ignore[arg-type]
        else:
            others[kind][iteration] = flag
    return CheckpointFlags(
        pins=pins,
        pending=others[PendingRequest],  # type: ignore[arg-type]
        marks=others[Mark],  # type: ignore[arg-type]
        damaged=others[Damage],  # type: ignore[arg-type]
    )


def pin(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    *,
    why: str | None = None,
    by: str | None = None,
    child: str | None = None,
) -> None:
    """Keep a checkpoint until it is unpinned.

    Args:
        child: the run that starts from it; it has a pin of its own.

    Raises:
        MissingCheckpointError: no such checkpoint, or a pruner was faster.
    """
    path = _checked_pin_path(run, iteration, child)
    file = require_checkpoint(filesystem, run, iteration)
    while True:
        of = identify(filesystem, run, iteration, file)
        write_json(filesystem, path, Pin(why=why, by=by, child=child, of=of))
        waited = wait_for_pruners(filesystem, run, iteration)
        try:
            now = require_checkpoint(filesystem, run, iteration)
        except MissingCheckpointError:
            filesystem.delete([path])
            raise
        if now == file and not waited:
            return
        # stored again meanwhile, or a pruner has withdrawn this path's pin of the replaced one
        file = now


def unpin(
    filesystem: StoreFilesystem, run: str, iteration: int, *, child: str | None = None
) -> None:
    """
    Raises:
        MissingRecordError: it is not pinned.
    """
    path = _checked_pin_path(run, iteration, child)
    if not filesystem.exists(path):
        raise MissingRecordError(f"iteration {iteration} of run {run!r} is not pinned")
    filesystem.delete_all([path])


def request_validation(
    filesystem: StoreFilesystem, run: str, iteration: int, *, expires: datetime, by: str | None
) -> None:
    """Protect a checkpoint until its validation has ended or ``expires``.

    Raises:
        MissingCheckpointError: no such checkpoint, or a pruner was faster.
    """
    path = layout.PENDING.path(layout.check_run_name(run), layout.check_iteration(iteration))
    require_checkpoint(filesystem, run, iteration)
    write_json(filesystem, path, PendingRequest(expires=expires, by=by))
    try:
        settle(filesystem, run, iteration)
    except MissingCheckpointError:
        filesystem.delete([path])
        raise


def settle_validation(filesystem: StoreFilesystem, run: str, iteration: int) -> None:
    """The validation was done or given up; harmless when none was requested."""
    filesystem.delete_all([layout.PENDING.path(run, iteration)])


def mark(filesystem: StoreFilesystem, run: str, iteration: int, flag: Mark) -> None:
    """Say that a checkpoint was pruned and is within its grace period."""
    write_json(filesystem, layout.MARKED.path(run, iteration), flag)


def delete_stale_flags(filesystem: StoreFilesystem, run: str, iteration: int) -> None:
    """Delete the flags of a file that a new one has replaced: marked, damaged, verified."""
    folders = (layout.MARKED, layout.DAMAGED, layout.VERIFIED)
    filesystem.delete_all(folder.path(run, iteration) for folder in folders)


def unmark(filesystem: StoreFilesystem, run: str, iteration: int) -> None:
    """Harmless when it is not marked."""
    filesystem.delete_all([layout.MARKED.path(run, iteration)])


def _checked_pin_path(run: str, iteration: int, child: str | None) -> str:
    layout.check_run_name(run)
    if child is not None:
        layout.check_run_name(child)
    return layout.pin_path(run, layout.check_iteration(iteration), child)

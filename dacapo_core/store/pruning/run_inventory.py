"""What a run has now: its checkpoints, best records and flags, and what protects a checkpoint.

One listing of the checkpoints and a few small reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from dacapo_core.store import layout
from dacapo_core.store.errors import DamagedRecordError, MissingCheckpointError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.keep_rules import named, never_prunable
from dacapo_core.store.pruning.plan import StoredCheckpoint
from dacapo_core.store.records.best_lookup import read_best_records
from dacapo_core.store.records.checkpoint_flags import CheckpointFlags, Pin, read_flags
from dacapo_core.store.records.checkpoint_identity import is_same_file
from dacapo_core.store.records.present_checkpoints import are_of_present
from dacapo_core.store.records.scores import BestRecord, Judged
from dacapo_core.store.records.verification_records import known_damage


@dataclass(frozen=True)
class RunInventory:
    """A run's checkpoints, best records and flags, as they were a moment ago.

    Attributes:
        best, flags: those that are about the checkpoints that are there, or about none that is.
        astray: iteration → what stands there and is no checkpoint: a link astray, a pipe, …
        damaged: path → what is wrong, of best records that cannot be read.
        replaced_best, replaced_pins: of checkpoints that others of the same iteration have
            replaced.
    """

    checkpoints: Mapping[int, StoredCheckpoint]
    best: Mapping[Judged, BestRecord]
    flags: CheckpointFlags
    protected: Mapping[int, list[str]]
    damaged: Mapping[str, DamagedRecordError]
    astray: Mapping[int, str]
    replaced_best: Mapping[Judged, BestRecord] = field(default_factory=dict)
    replaced_pins: Mapping[int, list[Pin]] = field(default_factory=dict)

    @property
    def best_targets(self) -> dict[Judged, int]:
        """(dataset, criterion) → iteration."""
        return {judged: record.iteration for judged, record in self.best.items()}

    def named(self) -> dict[int, list[str]]:
        """Iteration → what names it: best records, pins, requests."""
        return named(self.best, self.protected)

    def never_prunable(self) -> dict[int, list[str]]:
        """Iteration → why no policy and no sweep may delete it."""
        return never_prunable(self.checkpoints, self.named())

    def protected_by_hand(self) -> dict[int, list[str]]:
        """Iteration → why no person deletes it without force: what names it, and the latest."""
        named_ones, checkpoints = self.named(), self.checkpoints
        return {
            iteration: why
            for iteration, why in self.never_prunable().items()
            if iteration in named_ones or checkpoints[iteration].damaged is None
        }


def take_inventory(
    filesystem: StoreFilesystem,
    run: str,
    now: datetime,
    listed: Mapping[int, StoredCheckpoint] | None = None,
) -> RunInventory:
    """
    Args:
        listed: the checkpoints, where they were listed a moment ago.

    Raises:
        DamagedRecordError: a best record cannot be read.
    """
    inventory = take_readable_inventory(filesystem, run, now, listed)
    for error in inventory.damaged.values():
        raise error
    return inventory


def take_readable_inventory(
    filesystem: StoreFilesystem,
    run: str,
    now: datetime,
    listed: Mapping[int, StoredCheckpoint] | None = None,
) -> RunInventory:
    """As `take_inventory`, for readers: best records that cannot be read are left out."""
    flags = read_flags(filesystem, run)
    astray: dict[int, str] = {}
    if listed is None:
        checkpoints, astray = list_entries(filesystem, run, flags)
    else:
        checkpoints = dict(listed)
    flags, replaced_pins = without_replaced_pins(filesystem, run, flags, checkpoints)
    found, damaged = read_best_records(filesystem, run, checkpoints)
    best = {judged: record for judged, record in found.items() if not record.replaced}
    replaced = {judged: record for judged, record in found.items() if record.replaced}
    protected = flags.protections(now)
    if layout.is_published_start(run):
        for iteration in checkpoints:
            protected.setdefault(iteration, []).append("a published start")
    return RunInventory(
        checkpoints, best, flags, protected, damaged, astray, replaced, replaced_pins
    )


def without_replaced_pins(
    filesystem: StoreFilesystem,
    run: str,
    flags: CheckpointFlags,
    there: Mapping[int, StoredCheckpoint],
) -> tuple[CheckpointFlags, dict[int, list[Pin]]]:
    """The flags without pins of checkpoints that others have replaced, and those pins."""
    pins = [(i, pin) for i, several in flags.pins.items() for pin in several]
    said = [(i, None if pin is None else pin.of) for i, pin in pins]
    holding: dict[int, list[Pin | None]] = {}
    replaced: dict[int, list[Pin]] = {}
    for (iteration, pin), holds in zip(
        pins, are_of_present(filesystem, run, there, said), strict=True
    ):
        if holds or pin is None:
            holding.setdefault(iteration, []).append(pin)
        else:
            replaced.setdefault(iteration, []).append(pin)
    return (replace(flags, pins=holding) if replaced else flags), replaced


def read_pins(filesystem: StoreFilesystem, run: str) -> dict[int, list[Pin]]:
    """Iteration → the pins of the checkpoint that is there, not of those that it has replaced."""
    flags = read_flags(filesystem, run)
    if any(pin is not None and pin.of for pins in flags.pins.values() for pin in pins):
        there = list_checkpoints(filesystem, run, flags)
        flags, _ = without_replaced_pins(filesystem, run, flags, there)
    return {i: [pin or Pin() for pin in pins] for i, pins in sorted(flags.pins.items())}


def require_run(filesystem: StoreFilesystem, run: str) -> None:
    """
    Raises:
        MissingCheckpointError: no such run.
    """
    if run not in filesystem.list_folders():
        raise MissingCheckpointError(
            f"there is no run {run!r} in {filesystem.basedir}; `dacapo-store ls` lists the runs"
        )


def list_checkpoints(
    filesystem: StoreFilesystem, run: str, flags: CheckpointFlags
) -> dict[int, StoredCheckpoint]:
    """Iteration → what one listing and the flags say about its checkpoint."""
    return list_entries(filesystem, run, flags)[0]


def list_entries(
    filesystem: StoreFilesystem, run: str, flags: CheckpointFlags
) -> tuple[dict[int, StoredCheckpoint], dict[int, str]]:
    """As `list_checkpoints`, and iteration → what stands there and is no checkpoint."""
    found: dict[int, StoredCheckpoint] = {}
    astray: dict[int, str] = {}
    for file in filesystem.list_files(layout.iterations_folder(run)):
        iteration = layout.parse_iteration(file.name)
        if iteration is None:
            continue
        if file.problem is not None:
            astray[iteration] = file.problem
            continue
        damaged = known_damage(file, flags.damaged.get(iteration))
        stored = datetime.fromtimestamp(file.modified, UTC)
        marked: str | None = None
        marked_for: Sequence[str] = ()
        reclaim_after: datetime | None = None
        if iteration in flags.marks:
            note = flags.marks[iteration]
            if note is None:
                marked = "pruned, and its mark cannot be read"
            # a checkpoint stored after its mark is not the one that was pruned
            elif is_same_file(
                (note.size, note.stored, note.version), (file.size, stored, file.version)
            ):
                marked, marked_for = str(note), note.reasons
                reclaim_after = note.reclaim_after
        found[iteration] = StoredCheckpoint(
            iteration=iteration,
            size=file.size,
            stored=stored,
            damaged=damaged,
            marked=marked,
            marked_for=marked_for,
            version=file.version,
            reclaim_after=reclaim_after,
            links=file.links,
        )
    return found, astray

"""What pruning would do, or did: each iteration kept or pruned, and why. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import ByteSize


# no dataclass: it takes twice as long to make, ten thousand times a listing
class StoredCheckpoint(NamedTuple):
    """What a listing and the records say about one checkpoint.

    Attributes:
        size: in bytes.
        stored: when it was stored (the file's modification time).
        damaged: what is wrong with it, where that is known.
        marked: of one that was pruned and is within its grace period, since when and until when.
        marked_for: why it was pruned.
        reclaim_after: of a marked one, when its grace period is over, where that can be read.
        version: what tells this file from another of the same size and time, where the
            backend has such a thing.
        links: how many names its bytes have; 0: it is a symbolic link to them.
    """

    iteration: int
    size: int
    stored: datetime
    damaged: str | None = None
    marked: str | None = None
    marked_for: Sequence[str] = ()
    version: str | int | None = None
    reclaim_after: datetime | None = None
    links: int = 1

    @property
    def weight(self) -> int:
        """The bytes it takes: none where it is a symbolic link to another file."""
        return self.size if self.links else 0

    @property
    def freed(self) -> int:
        """The bytes that its deletion frees: none while they have another name."""
        return self.size if self.links == 1 else 0


class AboveLimit(NamedTuple):
    """By how much marked checkpoints hold a run above its policy's limit, and until when.

    Attributes:
        bytes: above the limit now.
        marked: how many checkpoints wait for the end of their grace period.
        until: when enough of them may be deleted; the first sweep after it does that. None: not
            known.
        bytes_then: what is above the limit even then.
    """

    bytes: int
    limit: ByteSize
    marked: int
    until: datetime | None
    bytes_then: int

    def __str__(self) -> str:
        when = "an unknown time" if self.until is None else f"{self.until:%Y-%m-%d %H:%M} UTC"
        said = (
            f"still {ByteSize(self.bytes).human_readable()} above the limit of "
            f"{self.limit.human_readable()} until {when}: {self.marked} marked checkpoints free "
            "their space with the first sweep after their grace period"
        )
        if self.bytes_then:
            said += f"; {ByteSize(self.bytes_then).human_readable()} stay above it then"
        return said


@dataclass(frozen=True)
class PrunePlan:
    """Each iteration of a run is in ``kept`` or in ``pruned``, with all its reasons.

    Attributes:
        scores: iteration → ``dataset/criterion`` → score, where the policy asked for scores.
        grace: pruned checkpoints are marked, and deleted by a sweep after this time.
        reclaim_after: until when those that were marked now can be restored at least.
        above_limit: what is above the policy's size limit, and until when; None: nothing.
        notes: what a person should know besides.
        failed: iterations that should have gone and could not, each with its error; they are
            in ``kept`` too.
        operation: name of the record of this operation; None when nothing was carried out.
    """

    checkpoints: Mapping[int, StoredCheckpoint]
    kept: dict[int, list[str]]
    pruned: dict[int, list[str]]
    scores: dict[int, dict[str, float]] = field(default_factory=dict)
    grace: timedelta | None = None
    reclaim_after: datetime | None = None
    above_limit: AboveLimit | None = None
    notes: list[str] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    run: str | None = None
    dry_run: bool = True
    operation: str | None = None

    @property
    def bytes_kept(self) -> int:
        """Total size of the kept checkpoints."""
        return sum(self.checkpoints[iteration].weight for iteration in self.kept)

    @property
    def bytes_freed(self) -> int:
        """What the deletion of those that go now frees; with a grace period, when it is over."""
        return sum(self.checkpoints[iteration].freed for iteration in self.doomed)

    @property
    def bytes_marked(self) -> int:
        """What those free that an earlier prune marked and that are still there."""
        return sum(c.freed for i, c in self.checkpoints.items() if i in self.pruned and c.marked)

    @property
    def doomed(self) -> list[int]:
        """Pruned iterations that are not marked yet: those that carrying out acts on."""
        return [i for i in self.pruned if self.checkpoints[i].marked is None]

    @property
    def restored(self) -> list[int]:
        """Kept iterations that an earlier prune marked: carrying out brings them back."""
        return [i for i in self.kept if self.checkpoints[i].marked is not None]

    def table(self, now: datetime) -> list[dict[str, Any]]:
        """One row per iteration, newest first, as the command line and the UI show it.

        Keys: iteration, decision ("kept" or "pruned"), reasons, scores, bytes, age_seconds.
        """
        rows = []
        for iteration in sorted(self.checkpoints, reverse=True):
            kept = iteration in self.kept
            checkpoint = self.checkpoints[iteration]
            rows.append(
                {
                    "iteration": iteration,
                    "decision": "kept" if kept else "pruned",
                    "reasons": (self.kept if kept else self.pruned)[iteration],
                    "scores": self.scores.get(iteration, {}),
                    "bytes": checkpoint.size,
                    "age_seconds": round((now - checkpoint.stored).total_seconds()),
                }
            )
        return rows

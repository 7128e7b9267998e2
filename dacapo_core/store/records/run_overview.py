"""A run in one small object, for a page of many: where its training is and what it keeps on disk.

It is derived, and written again by whoever changes what it says. What it costs to read does not
grow with the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.history import CheckpointHistory
from dacapo_core.store.records.json_records import parsed, write_json
from dacapo_core.store.records.scores import BestRecord, Judged

MOST_LEVELS = 24

TrainingState = Literal["training", "complete", "stopped", "failed"]


class _Note(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TrainingNote(_Note):
    """What the process that trains a run last reported.

    Attributes:
        state: stopped by a person or a signal; failed by an error.
        heard: when it reported; ``expected`` is by when the next report is due, if all goes well.
        waiting_share: of the time, for data; 0 to 1.
        flow_run: its id.
        why: what ended it.
    """

    state: TrainingState
    heard: datetime
    iteration: int
    num_iterations: int
    expected: datetime | None = None
    seconds_left: float | None = None
    samples_per_second: float = 0.0
    waiting_share: float = 0.0
    flow_run: str | None = None
    why: str | None = None


class BestNote(_Note):
    """The best of a dataset and criterion."""

    dataset: str
    criterion: str
    iteration: int
    score: float | None = None


class DiskLevel(_Note):
    """Bytes of a run on disk from ``time`` on, and those that pruning had freed by then."""

    time: datetime
    on_disk: int
    freed: int


class CheckpointsNote(_Note):
    """A run's checkpoints: how many there are, of how many bytes, and what is gone.

    Attributes:
        restorable_until: the earliest time at which a marked one may be deleted.
        last_pruned: when checkpoints were last marked or deleted.
        levels: disk use over time, in order.
    """

    kept: int = 0
    kept_bytes: int = 0
    marked: int = 0
    marked_bytes: int = 0
    restorable_until: datetime | None = None
    pruned: int = 0
    freed_bytes: int = 0
    last_pruned: datetime | None = None
    levels: list[DiskLevel] = Field(default_factory=list)


class RunOverview(_Note):
    """A run as one row of a page.

    Attributes:
        training: None of a run that was not trained by us.
        pages: where a person reads more: what is shown → the path of the page.
    """

    training: TrainingNote | None = None
    best: BestNote | None = None
    checkpoints: CheckpointsNote = Field(default_factory=CheckpointsNote)
    pages: dict[str, str] = Field(default_factory=dict)


def checkpoints_note(history: Iterable[CheckpointHistory]) -> CheckpointsNote:
    """The figures of a run's checkpoints, in bounded size."""
    history = list(history)
    kept, marked, pruned = (
        [each for each in history if each.fate == fate] for fate in ("kept", "marked", "pruned")
    )
    until = [each.restorable_until for each in marked if each.restorable_until is not None]
    when = [each.pruned for each in history if each.pruned is not None]
    return CheckpointsNote(
        kept=len(kept),
        kept_bytes=_bytes(kept),
        marked=len(marked),
        marked_bytes=_bytes(marked),
        restorable_until=min(until, default=None),
        pruned=len(pruned),
        freed_bytes=_bytes(pruned),
        last_pruned=max(when, default=None),
        levels=disk_levels(history),
    )


def disk_levels(
    history: Iterable[CheckpointHistory], most: int | None = MOST_LEVELS
) -> list[DiskLevel]:
    """Disk use after stores and prunes, in order of time; of more than ``most``, some.

    Checkpoints of unknown size or time are left out.
    """
    changes: list[tuple[datetime, int]] = []
    for each in history:
        if each.size is None or each.stored is None:
            continue
        changes.append((each.stored, each.size))
        if each.fate == "pruned" and each.pruned is not None:
            changes.append((each.pruned, -each.size))
    changes.sort()
    on_disk = accumulate(change for _, change in changes)
    freed = accumulate(max(0, -change) for _, change in changes)
    levels = [
        DiskLevel(time=moment, on_disk=now, freed=gone)
        for (moment, _), now, gone in zip(changes, on_disk, freed, strict=True)
    ]
    every = 1 if most is None else max(1, -(-len(levels) // most))
    # from the end, so that the newest is among them
    return levels[::-1][::every][::-1]


def best_note(best: dict[Judged, BestRecord]) -> BestNote | None:
    """The best to show of a run: over all channels, of the first dataset and criterion."""
    judged = sorted(best, key=lambda each: ("__" in each[1], each))
    if not judged:
        return None
    dataset, criterion = judged[0]
    record = best[judged[0]]
    return BestNote(
        dataset=dataset, criterion=criterion, iteration=record.iteration, score=record.score
    )


def write_overview(filesystem: StoreFilesystem, run: str, overview: RunOverview) -> None:
    path = layout.run_record_path(layout.check_run_name(run), layout.OVERVIEW)
    write_json(filesystem, path, overview)


def read_overviews(
    filesystem: StoreFilesystem, runs: Sequence[str]
) -> dict[str, RunOverview | None]:
    """Run → its overview; None where there is none that can be read. One small read each."""
    paths = {layout.run_record_path(run, layout.OVERVIEW): run for run in runs}
    contents = filesystem.read_many(paths)
    return {run: parsed(RunOverview, contents.get(path, b"")) for path, run in paths.items()}


def _bytes(checkpoints: Iterable[CheckpointHistory]) -> int:
    return sum(each.size or 0 for each in checkpoints)

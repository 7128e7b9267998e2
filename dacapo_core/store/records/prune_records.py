"""What was pruned, removed and restored, when, why and by whom: one record for each operation."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.json_records import read_json_files, write_json

Kind = Literal["prune", "mark", "restore", "reclaim", "remove"]

DELETING: tuple[Kind, ...] = ("prune", "reclaim", "remove")


# no model, and the record as text: an operation may hold ten thousand, and a few more objects in
# each would wake the garbage collector for a walk over all that the process has
@dataclass(frozen=True, slots=True)
class PrunedCheckpoint:
    """One checkpoint in an operation.

    Attributes:
        record: its checkpoint's record as it was, JSON; None where it had none (written by
            DaCapo).
    """

    reasons: list[str]
    bytes: int | None = None
    stored: datetime | None = None
    scores: dict[str, float] = field(default_factory=dict)
    record: str | None = None


class OperationRecord(BaseModel):
    """``records/pruned/<time>-<id>.json``.

    Attributes:
        kind: prune (deleted at once), mark (within grace from now), restore (unmarked), reclaim
            (deleted after grace), remove (deleted by hand).
        by: the flow run, or the person, that did it.
        policy: the retention policy, for prune and mark.
        reclaim_after: for mark, until when the checkpoints can be brought back at least.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    operation: str
    kind: Kind
    time: datetime
    by: str | None = None
    policy: dict[str, Any] | None = None
    reclaim_after: datetime | None = None
    iterations: dict[int, PrunedCheckpoint]
    interrupted: bool = False


def new_operation() -> str:
    """A name that sorts by time: ``20260320T120000.123456Z-1f3a…``."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}"


def write_operation(filesystem: StoreFilesystem, run: str, record: OperationRecord) -> None:
    write_json(filesystem, layout.PRUNED.path(run, record.operation), record)


def read_operations(
    filesystem: StoreFilesystem, run: str
) -> tuple[list[OperationRecord], list[str]]:
    """All operations in order of time, and the URLs of records that cannot be read."""
    return read_json_files(
        filesystem, layout.PRUNED.of(layout.check_run_name(run)), OperationRecord
    )

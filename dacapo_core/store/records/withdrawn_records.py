"""Scores, bests and pins that no longer count, kept for the history: one record an occasion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.checkpoint_flags import Pin
from dacapo_core.store.records.checkpoint_identity import CheckpointIdentity
from dacapo_core.store.records.json_records import read_json_files, write_json
from dacapo_core.store.records.prune_records import new_operation
from dacapo_core.store.records.scores import BestRecord, ScoresRecord

Occasion = Literal["stored again", "scored late", "resumed", "not finite", "forgotten"]


class Withdrawn(BaseModel):
    """The scores, bests and pins of one checkpoint.

    Attributes:
        of: its file; None where that is not known.
        stored, stored_by: when and by whom, of one that another has replaced.
        best: by ``dataset/criterion``.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    of: CheckpointIdentity | None = None
    stored: datetime | None = None
    stored_by: str | None = None
    scores: list[ScoresRecord] = Field(default_factory=list)
    best: dict[str, BestRecord] = Field(default_factory=dict)
    pins: list[Pin] = Field(default_factory=list)


class WithdrawnFacts(BaseModel):
    """``records/withdrawn/<time>-<id>.json``.

    Attributes:
        occasion: stored again (another checkpoint of the iteration), scored late (scores came for
            one that had been replaced), resumed (training went back before it), not finite (the
            best was scored again so), forgotten (a dataset or criterion, by hand).
        judged: ``dataset/criterion`` of what was forgotten.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    operation: str
    occasion: Occasion
    time: datetime
    by: str | None = None
    judged: list[str] = Field(default_factory=list)
    iterations: dict[int, Withdrawn]


def write_withdrawn(
    filesystem: StoreFilesystem,
    run: str,
    occasion: Occasion,
    iterations: Mapping[int, Withdrawn],
    by: str | None,
    time: datetime | None = None,
    judged: Sequence[str] = (),
) -> None:
    """Keep for the history what is about to be deleted, or is about a replaced checkpoint.

    Args:
        time: when it ceased to hold; default now.
    """
    record = WithdrawnFacts(
        operation=new_operation(),
        occasion=occasion,
        time=time or datetime.now(UTC),
        by=by,
        judged=list(judged),
        iterations=dict(iterations),
    )
    write_json(filesystem, layout.WITHDRAWN.path(run, record.operation), record)


def read_withdrawn(filesystem: StoreFilesystem, run: str) -> tuple[list[WithdrawnFacts], list[str]]:
    """All in order of time, and the URLs of records that cannot be read."""
    return read_json_files(filesystem, layout.WITHDRAWN.of(run), WithdrawnFacts)

"""The record beside a checkpoint: what was stored, when, by whom."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class CheckpointRecord(BaseModel):
    """The record of one checkpoint, ``records/checkpoints/<iteration>.json``.

    It speaks of the file whose index has the same nonce, and of no other: DaCapo overwrites
    checkpoints in place, and an iteration may be stored again.

    Attributes:
        bytes: size of the file.
        digest: xxh3_128 of the whole file.
        parts: section (model, optimizer, extra) → xxh3_128 over its tensors' digests; equal
            weights have equal digests in every checkpoint.
        by: who stored it.
        modified, file_version: of the file, as it was seen when it was stored.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    iteration: int = Field(ge=0)
    bytes: int = Field(ge=0)
    digest: str
    parts: dict[str, str]
    nonce: str
    stored: datetime
    torch: str
    version: str
    by: str
    modified: float | None = None
    file_version: int | str | None = None

"""The record beside a checkpoint: what was stored, when, by whom."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem


class CheckpointRecord(BaseModel):
    """The record of one checkpoint, ``records/checkpoints/<iteration>.json``.

    It is about the file whose index has the same nonce, and no other: DaCapo overwrites
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


def read_record_texts(
    filesystem: StoreFilesystem, run: str, iterations: Iterable[int]
) -> tuple[dict[int, str], dict[int, str]]:
    """Iteration → its checkpoint's record as text; iteration → what is wrong with a damaged record.

    A checkpoint without a record, as DaCapo writes them, is in neither.
    """
    paths = {layout.CHECKPOINT_RECORDS.path(run, i): i for i in iterations}
    records: dict[int, str] = {}
    damaged: dict[int, str] = {}
    for path, content in filesystem.read_many(paths).items():
        try:
            CheckpointRecord.model_validate_json(content)
        except ValidationError:
            damaged[paths[path]] = (
                f"its record {filesystem.url(path)} is damaged: nothing is deleted on doubt; "
                "verify the checkpoint, then remove it by force or store it again"
            )
        else:
            records[paths[path]] = content.decode()
    return records, damaged

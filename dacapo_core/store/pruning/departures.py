"""What will be on record of checkpoints that go: why, size, time, scores, their own record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from dacapo_core.store import layout
from dacapo_core.store.checkpoints.checkpoint_record import CheckpointRecord
from dacapo_core.store.files.filesystem import StoreFilesystem
from dacapo_core.store.pruning.prune_plan import StoredCheckpoint
from dacapo_core.store.records.prune_records import Departure
from dacapo_core.store.records.scores import best_scores
from dacapo_core.store.records.scores_records import read_scores


def checkpoint_records(
    filesystem: StoreFilesystem, run: str, iterations: Iterable[int]
) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
    """Iteration → its checkpoint's record, and iteration → what is said of a damaged one.

    A checkpoint without a record, as DaCapo writes them, is in neither.
    """
    paths = {layout.checkpoint_record_path(run, i): i for i in iterations}
    records: dict[int, dict[str, Any]] = {}
    damaged: dict[int, str] = {}
    for path, content in filesystem.read_many(paths).items():
        try:
            # parsed before it is validated, and only that is kept: ten thousand models would
            # wake the garbage collector
            record = from_json(content)
            CheckpointRecord.model_validate(record)
        except (ValueError, ValidationError):
            damaged[paths[path]] = (
                f"its record {filesystem.url(path)} is damaged: nothing is deleted on doubt; "
                "verify the checkpoint, then remove it by force or store it again"
            )
        else:
            records[paths[path]] = record
    return records, damaged


def departures(
    filesystem: StoreFilesystem,
    run: str,
    reasons: Mapping[int, list[str]],
    seen: Mapping[int, StoredCheckpoint],
    records: Mapping[int, dict[str, Any]],
) -> dict[int, Departure]:
    """What will be said of each; its scores are read now: one listing, concurrent reads."""
    scored, _ = read_scores(filesystem, run, reasons)
    scores = best_scores(scored)
    no_scores: dict[str, float] = {}
    return {
        iteration: Departure(
            reasons=why,
            bytes=seen[iteration].size,
            stored=seen[iteration].stored,
            scores=scores.get(iteration, no_scores),
            record=records.get(iteration),
        )
        for iteration, why in reasons.items()
    }

"""What will be on record of checkpoints that go: why, size, time, scores, their own record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.plan import StoredCheckpoint
from dacapo_core.store.records.checkpoint_record import CheckpointRecord
from dacapo_core.store.records.prune_records import Departure
from dacapo_core.store.records.scores import best_scores
from dacapo_core.store.records.scores_records import read_scores


def checkpoint_records(
    filesystem: StoreFilesystem, run: str, iterations: Iterable[int]
) -> tuple[dict[int, str], dict[int, str]]:
    """Iteration → its checkpoint's record as text, and iteration → what is said of a damaged one.

    A checkpoint without a record, as DaCapo writes them, is in neither.
    """
    paths = {layout.checkpoint_record_path(run, i): i for i in iterations}
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


def departures(
    filesystem: StoreFilesystem,
    run: str,
    reasons: Mapping[int, list[str]],
    seen: Mapping[int, StoredCheckpoint],
    records: Mapping[int, str],
) -> dict[int, Departure]:
    """What will be said of each; its scores are read now: one listing, concurrent reads."""
    scores = best_scores(read_scores(filesystem, run, seen, reasons).records)
    no_scores: dict[str, float] = {}
    return {
        iteration: Departure(
            reasons=why,
            bytes=seen[iteration].freed,
            stored=seen[iteration].stored,
            scores=scores.get(iteration, no_scores),
            record=records.get(iteration),
        )
        for iteration, why in reasons.items()
    }

"""Checkpoints as rows of a table, or as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dacapo_core.command_line.output import readable_age, readable_size

if TYPE_CHECKING:
    from dacapo_core.store.records.history import CheckpointHistory

COLUMNS = ["iteration>", "state", "size>", "age>", "verified", "best for", "scores", "why"]


def as_json(checkpoint: CheckpointHistory) -> dict[str, Any]:
    return {
        "iteration": checkpoint.iteration,
        "fate": checkpoint.fate,
        "reasons": list(checkpoint.reasons),
        "bytes": checkpoint.size,
        "stored": checkpoint.stored,
        "age_seconds": None if checkpoint.stored is None else _seconds_since(checkpoint.stored),
        "verified": checkpoint.verified,
        "verified_at": checkpoint.verified_at,
        "best_for": list(checkpoint.best_for),
        "scores": checkpoint.scores,
        "damaged": checkpoint.damaged,
        "pruned": checkpoint.pruned,
        "pruned_by": checkpoint.pruned_by,
        "restorable_until": checkpoint.restorable_until,
    }


def cells(checkpoint: CheckpointHistory) -> list[str]:
    from dacapo_core.store.records.score_names import (
        in_words,
        overall,
        reasons_in_words,
        shown_scores,
    )

    verified = "–"
    if checkpoint.verified is False:
        verified = "damaged"
    elif checkpoint.verified_at is not None:
        verified = f"{readable_age(_seconds_since(checkpoint.verified_at))} ago"
    return [
        str(checkpoint.iteration),
        "damaged" if checkpoint.damaged else checkpoint.fate,
        readable_size(checkpoint.size),
        "–" if checkpoint.stored is None else readable_age(_seconds_since(checkpoint.stored)),
        verified,
        in_words(checkpoint.best_for),
        shown_scores(overall(checkpoint.scores)),
        # what it is best for has a column of its own
        "; ".join(
            reasons_in_words(why for why in checkpoint.reasons if not why.startswith("best of "))
        ),
    ]


def _seconds_since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()

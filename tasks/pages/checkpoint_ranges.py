"""Checkpoints in as many rows as a page can hold: one each, else neighbours as ranges.

``4000–4900, every 100 (10)`` still answers why iteration 4000 is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from dacapo_core.store.records.history import CheckpointHistory
from dacapo_core.store.records.score_names import (
    criterion_in_words,
    overall,
    score_name,
    short_why,
)
from tasks.pages.formatting import readable_score
from tasks.pages.iterations import shown_iterations

MOST_ROWS = 300
MOST_CRITERIA = 2


@dataclass(frozen=True)
class CheckpointRange:
    """One checkpoint, or neighbours in the order of iterations to which the same happened."""

    checkpoints: Sequence[CheckpointHistory]

    @property
    def first(self) -> CheckpointHistory:
        return self.checkpoints[0]

    @property
    def last(self) -> CheckpointHistory:
        return self.checkpoints[-1]

    @property
    def iterations(self) -> str:
        """``4000``, or as `shown_iterations` has it."""
        return shown_iterations([each.iteration for each in self.checkpoints])

    @property
    def why(self) -> str:
        """All reasons, the same of all its checkpoints."""
        return short_why(self.first.reasons)

    @property
    def size(self) -> int | None:
        """In bytes, of all together; None where none is on record."""
        known = [each.size for each in self.checkpoints if each.size is not None]
        return sum(known) if known else None

    @property
    def score(self) -> str:
        """``Dice 0.912 · VOI 0.31``: means over datasets, of the first few criteria."""
        return _shown(_mean_scores(each) for each in self.checkpoints)

    @property
    def pruned(self) -> str:
        """When; of a range, from when to when."""
        moments = sorted(each.pruned for each in self.checkpoints if each.pruned is not None)
        if not moments:
            return ""
        return _span([f"{moment:%Y-%m-%d %H:%M:%S}" for moment in moments], " – ") + " UTC"

    @property
    def restorable_until(self) -> str:
        """For marked ones, until when at least; of a range, all of it."""
        moments = [each.restorable_until for each in self.checkpoints if each.restorable_until]
        return f"{min(moments):%Y-%m-%d %H:%M} UTC" if moments else ""

    @property
    def fate(self) -> str:
        """What became of it; of a marked one, until when it can be restored."""
        until = f", restorable until {self.restorable_until}" if self.restorable_until else ""
        return f"{self.first.fate}{until}"


def in_rows(
    checkpoints: Iterable[CheckpointHistory], most: int = MOST_ROWS
) -> tuple[list[CheckpointRange], int]:
    """Checkpoints in at most ``most`` rows, newest iteration first, and how many are in none.

    One row each; if these are too many, neighbours at equal steps that went at once for the same
    reasons by the same hand share one; then those that went at different times; then at any
    steps. What does not fit even so, the oldest, is in none.
    """
    ordered = sorted(checkpoints, key=lambda each: each.iteration)
    rows = [CheckpointRange([each]) for each in ordered]
    for same, at_equal_steps in ((_same_prune, True), (_same_why, True), (_same_why, False)):
        if len(rows) <= most:
            break
        rows = list(_ranges(ordered, same, at_equal_steps=at_equal_steps))
    rows.reverse()
    return rows[:most], sum(len(row.checkpoints) for row in rows[most:])


def _ranges(
    ordered: Sequence[CheckpointHistory],
    same: Callable[[CheckpointHistory], object],
    *,
    at_equal_steps: bool,
) -> Iterable[CheckpointRange]:
    for _, alike in groupby(ordered, same):
        found: list[CheckpointHistory] = []
        for each in alike:
            if at_equal_steps and len(found) > 1:
                step = found[1].iteration - found[0].iteration
                if each.iteration - found[-1].iteration != step:
                    yield CheckpointRange(found)
                    found = []
            found.append(each)
        yield CheckpointRange(found)


def _same_prune(each: CheckpointHistory) -> object:
    return _same_why(each), each.pruned


def _same_why(each: CheckpointHistory) -> object:
    return each.fate, short_why(each.reasons), each.pruned_by


def _mean_scores(each: CheckpointHistory) -> dict[str, float]:
    by_criterion: dict[str, list[float]] = {}
    for name, score in sorted((overall(each.scores) or each.scores).items()):
        by_criterion.setdefault(criterion_in_words(score_name(name).criterion), []).append(score)
    return {criterion: fmean(scores) for criterion, scores in by_criterion.items()}


def _shown(scores: Iterable[Mapping[str, float]], most: int = MOST_CRITERIA) -> str:
    """``dice 0.912``; of several checkpoints from the lowest to the highest."""
    found: dict[str, list[float]] = {}
    for each in scores:
        for name, score in each.items():
            found.setdefault(name, []).append(score)
    return " · ".join(
        f"{name} {_span([readable_score(min(values)), readable_score(max(values))])}"
        for name, values in list(found.items())[:most]
    )


def _span(shown: Sequence[str], dash: str = "–") -> str:
    return shown[0] if shown[0] == shown[-1] else f"{shown[0]}{dash}{shown[-1]}"

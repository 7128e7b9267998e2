"""Scores of a checkpoint on a dataset, and which checkpoint they make the best. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
)

from dacapo_core.store.errors import InvalidValueError
from dacapo_core.store.layout import check_dataset_name
from dacapo_core.store.records.checkpoint_identity import SaidOfBytes
from dacapo_core.store.records.strict_json import NOT_FINITE, plain

Judged = tuple[str, str]
"""(dataset, criterion)."""


_PLAIN = BeforeValidator(lambda value: plain(value, "parameters"))


def finite(score: float | None) -> float | None:
    """A score, or None for one that is not finite."""
    return None if score is None or not math.isfinite(score) else score


class ScoreEntry(BaseModel):
    """The scores under one set of post-processing parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    parameters: Annotated[dict[str, Any], _PLAIN] = Field(default_factory=dict)
    scores: dict[str, float | None]

    @field_validator("scores")
    @classmethod
    def _nan_is_no_score(cls, scores: dict[str, float | None]) -> dict[str, float | None]:
        return {
            criterion: None if score is None or math.isnan(score) else score
            for criterion, score in scores.items()
        }


class ScoresRecord(SaidOfBytes):
    """What one validation of one checkpoint on one dataset found.

    ``criteria`` names those that a best is kept for, with their direction (True: higher is
    better). An entry may hold scores of further criteria; they are kept and shown, and never
    make a best. Criteria of one channel are named as DaCapo names them, ``mito__dice``.
    ``extended`` lists the iterations at which the run had been given more of them before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    iteration: int = Field(ge=0)
    dataset: str
    criteria: Annotated[dict[str, bool], BeforeValidator(lambda value: plain(value, "criteria"))]
    entries: list[ScoreEntry]
    extended: list[int] = Field(default_factory=list)
    scored: datetime = Field(default_factory=lambda: datetime.now(UTC))
    by: str | None = None

    def not_finite(self) -> list[str]:
        """The criteria that a best is kept for and that have no finite score."""
        return [
            criterion
            for criterion, higher in self.criteria.items()
            if self.best_entry(criterion, higher) is None
        ]

    def best_entry(
        self, criterion: str, higher_is_better: bool
    ) -> tuple[float, dict[str, Any]] | None:
        """The best finite score of ``criterion`` and its parameters; None without one.

        Among equals the first entry, as DaCapo takes it.
        """
        found: tuple[float, dict[str, Any]] | None = None
        for entry in self.entries:
            score = entry.scores.get(criterion)
            if score is None or not math.isfinite(score):
                continue
            if found is None or better(score, found[0], higher_is_better):
                found = (score, entry.parameters)
        return found


class BestRecord(SaidOfBytes):
    """Which checkpoint is the best of a dataset and criterion.

    DaCapo's own records hold the iteration alone.

    Attributes:
        replaced: it is about a checkpoint that another one of this iteration has replaced.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, ser_json_inf_nan="strings")

    iteration: int = Field(ge=0)
    score: Annotated[float | None, AfterValidator(finite)] = None
    parameters: Annotated[dict[str, Any] | None, _PLAIN] = None
    replaced: bool = Field(default=False, exclude=True)

    @property
    def by_dacapo(self) -> bool:
        """Whether DaCapo wrote it: what we write has a score, if only an empty one."""
        return "score" not in self.model_fields_set


def best_record(iteration: int, score: Any, parameters: Any) -> BestRecord:
    """
    Raises:
        InvalidValueError: a score that is no finite number, or parameters that JSON cannot hold.
    """
    number = plain(score, "score")
    if isinstance(number, bool) or not isinstance(number, int | float | None):
        said = (
            "is not finite" if isinstance(number, str) and number in NOT_FINITE else "is no number"
        )
        raise InvalidValueError(
            f"score {score!r:.80} of iteration {iteration} {said}, and a best needs one that is; "
            "leave it out to name a best without a score"
        )
    if parameters is not None and not isinstance(parameters, Mapping):
        raise InvalidValueError(f"parameters must be a mapping, not {parameters!r:.80}")
    return BestRecord(iteration=iteration, score=number, parameters=plain(parameters, "parameters"))


def better(score: float, other: float, higher_is_better: bool) -> bool:
    """Whether ``score`` beats ``other``."""
    return score > other if higher_is_better else score < other


def ranking(records: Iterable[ScoresRecord]) -> dict[Judged, list[tuple[int, BestRecord]]]:
    """Each (dataset, criterion)'s iterations from best to worst.

    An iteration without a finite score is not in it. Among equals the earlier comes first. When
    records disagree on a direction, the latest iteration's holds.
    """
    records = sorted(records, key=lambda record: record.iteration)
    directions: dict[Judged, bool] = {}
    found: dict[Judged, list[tuple[int, BestRecord]]] = {}
    for record in records:
        for criterion, higher in record.criteria.items():
            directions[record.dataset, criterion] = higher
    for record in records:
        for criterion in record.criteria:
            judged = (record.dataset, criterion)
            entry = record.best_entry(criterion, directions[judged])
            ranked = found.setdefault(judged, [])
            if entry is not None:
                score, parameters = entry
                best = BestRecord(
                    iteration=record.iteration, score=score, parameters=parameters, of=record.of
                )
                ranked.append((record.iteration, best))
    for judged, ranked in found.items():
        sign = -1.0 if directions[judged] else 1.0
        ranked.sort(key=lambda item: (sign * (item[1].score or 0.0), item[0]))
    return found


def best_of(records: Iterable[ScoresRecord]) -> dict[Judged, BestRecord]:
    """The best record that these scores make, per (dataset, criterion) with any finite score."""
    return {judged: ranked[0][1] for judged, ranked in ranking(records).items() if ranked}


def best_scores(records: Iterable[ScoresRecord]) -> dict[int, dict[str, float]]:
    """Iteration → ``dataset/criterion`` → best finite score: what a table shows."""
    shown: dict[int, dict[str, float]] = {}
    for (dataset, criterion), ranked in ranking(records).items():
        for iteration, best in ranked:
            if best.score is not None:
                shown.setdefault(iteration, {})[f"{dataset}/{criterion}"] = best.score
    return shown


def shown_best(best: Mapping[Judged, BestRecord]) -> dict[str, tuple[int, float | None]]:
    """``dataset/criterion`` → (iteration, score); without those whose checkpoint was replaced."""
    return {
        f"{dataset}/{criterion}": (record.iteration, record.score)
        for (dataset, criterion), record in best.items()
        if not record.replaced
    }


def unjudged(
    iterations: Iterable[int], records: Iterable[ScoresRecord], datasets: Iterable[str]
) -> list[int]:
    """Of these iterations, those without scores on every one of the datasets."""
    wanted = {check_dataset_name(dataset) for dataset in datasets}
    judged: dict[int, set[str]] = {}
    for record in records:
        judged.setdefault(record.iteration, set()).add(record.dataset)
    return [each for each in iterations if not wanted <= judged.get(each, set())]


def names_of(judged: Iterable[Judged]) -> dict[str, set[Judged]]:
    """What a policy may call each: ``criterion`` alone or ``dataset/criterion``."""
    names: dict[str, set[Judged]] = {}
    for dataset, criterion in judged:
        names.setdefault(criterion, set()).add((dataset, criterion))
        names.setdefault(f"{dataset}/{criterion}", set()).add((dataset, criterion))
    return names

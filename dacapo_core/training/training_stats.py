"""What training reports, iteration by iteration."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from dacapo_core.store.errors import DamagedRecordError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingIterationStats:
    """One iteration (DaCapo's class of the same name).

    ``loss`` and ``gradient_norm`` are NaN or infinite where the iteration was skipped;
    ``time`` is in seconds, and ``waiting`` is how much of it was spent waiting for data.
    """

    iteration: int
    loss: float
    gradient_norm: float
    learning_rate: float
    time: float
    skipped: bool
    waiting: float = 0.0


@dataclass
class TrainingStats:
    """A stretch of iterations (DaCapo's ``dacapo.experiments.training_stats.TrainingStats``)."""

    batch_size: int
    iteration_stats: list[TrainingIterationStats] = field(default_factory=list)

    @property
    def iterations(self) -> list[int]:
        """Each iteration's number: how many were done when it was."""
        return [stats.iteration for stats in self.iteration_stats]

    @property
    def losses(self) -> list[float]:
        """Each iteration's loss."""
        return [stats.loss for stats in self.iteration_stats]

    @property
    def learning_rates(self) -> list[float]:
        """Each iteration's learning rate."""
        return [stats.learning_rate for stats in self.iteration_stats]

    @property
    def skipped(self) -> int:
        """How many iterations changed nothing because loss or gradient was not finite."""
        return sum(stats.skipped for stats in self.iteration_stats)

    @property
    def samples_per_second(self) -> float:
        """Patches per second of training; 0 without iterations."""
        seconds = sum(stats.time for stats in self.iteration_stats)
        return self.batch_size * len(self.iteration_stats) / seconds if seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Share of the time in which nothing was trained because no batch was ready; 0 to 1."""
        seconds = sum(stats.time for stats in self.iteration_stats)
        return sum(stats.waiting for stats in self.iteration_stats) / seconds if seconds else 0.0

    def without_first(self) -> TrainingStats:
        """The stretch less its first iteration, before which nothing could be prepared."""
        return TrainingStats(self.batch_size, self.iteration_stats[1:])

    def after(self, iteration: int) -> TrainingStats:
        """The stretch that follows `iteration`."""
        later = [stats for stats in self.iteration_stats if stats.iteration > iteration]
        return TrainingStats(self.batch_size, later)

    def record(self) -> dict[str, Any]:
        """The stretch as columns for JSON; a value that is not finite becomes None."""
        return {
            "batch_size": self.batch_size,
            "iteration": self.iterations,
            "loss": [finite(stats.loss) for stats in self.iteration_stats],
            "gradient_norm": [finite(stats.gradient_norm) for stats in self.iteration_stats],
            "learning_rate": self.learning_rates,
            "time": [round(stats.time, 6) for stats in self.iteration_stats],
            "waiting": [round(stats.waiting, 6) for stats in self.iteration_stats],
            "skipped": [stats.iteration for stats in self.iteration_stats if stats.skipped],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> TrainingStats:
        """The stretch that `record` was made from; an old one does not know of waiting.

        Raises:
            DamagedRecordError: it was made from none.
        """
        try:
            return cls._from_columns(record)
        except (LookupError, TypeError, ValueError) as error:
            raise DamagedRecordError(f"no training statistics: {error!r}") from None

    @classmethod
    def _from_columns(cls, record: dict[str, Any]) -> TrainingStats:
        skipped = set(record["skipped"])
        record = {"waiting": [0.0] * len(record["iteration"]), **record}
        columns = ("iteration", "loss", "gradient_norm", "learning_rate", "time", "waiting")
        return cls(
            record["batch_size"],
            [
                TrainingIterationStats(
                    iteration,
                    float("nan") if loss is None else loss,
                    float("nan") if norm is None else norm,
                    rate,
                    seconds,
                    iteration in skipped,
                    waiting,
                )
                for iteration, loss, norm, rate, seconds, waiting in zip(
                    *(record[column] for column in columns), strict=True
                )
            ],
        )


def stretches(run: str, records: Iterable[dict[str, Any]]) -> Iterator[TrainingStats]:
    """What a run's store has of its training; a damaged record is passed over with a warning."""
    for record in records:
        try:
            yield TrainingStats.from_record(record)
        except DamagedRecordError as error:
            logger.warning("passed over a record of run %r: %s", run, error)


def finite(value: float) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if isfinite(value) else None

"""How fast a run learnt, read from its store, and how that compares with another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dacapo_core.experiments.starts import LoadingReport
from tasks.pages.formatting import readable_score, readable_seconds

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore

GOAL = 0.80
MEAN = "dice"


@dataclass(frozen=True)
class LearningCurve:
    """Dice scores and training time, by iteration.

    Attributes:
        dice: iteration → criterion → score; criteria are ``dice``, the mean over the channels, and
            ``<channel>__dice``.
        seconds: iteration → seconds of training until it, without validation.
    """

    run: str
    dice: Mapping[int, Mapping[str, float]]
    seconds: Mapping[int, float]

    def reached(self, goal: float) -> int | None:
        """The first validated iteration with a mean Dice of at least ``goal``."""
        return next(
            (at for at in sorted(self.dice) if self.dice[at].get(MEAN, 0.0) >= goal),
            None,
        )

    @property
    def best(self) -> float | None:
        """The highest mean Dice."""
        return max((scores[MEAN] for scores in self.dice.values() if MEAN in scores), default=None)


@dataclass(frozen=True)
class Comparison:
    """A run from a start and the same from scratch; printed, it is what a person reads.

    Attributes:
        report: the start's loading report.
        was_complete: whether there was nothing left to train.
    """

    report: Mapping[str, Any]
    finetuned: LearningCurve
    scratch: LearningCurve
    was_complete: bool

    def __str__(self) -> str:
        report = LoadingReport.model_validate(self.report)
        rows = [
            f"  {row.label:<10} "
            + ("initialised anew" if row.source is None else f"row {row.source} of the source")
            for row in report.head_rows
        ]
        before = self.finetuned.dice.get(0, {})
        scores = [
            f"  {name.removesuffix('__dice'):<10} {readable_score(score)}"
            for name, score in before.items()
            if name != MEAN
        ]
        lines = ["All runs are complete: nothing to do.", ""] if self.was_complete else []
        lines += [
            *report.summary().splitlines()[:1],
            "",
            f"Head: {report.head_summary()}",
            *rows,
            "",
        ]
        lines += ["Dice before the first step, on data it was not trained on", *scores, ""]
        return "\n".join([*lines, *self._learning()])

    def _learning(self) -> list[str]:
        lines = [f"{'':<16}{f'to mean Dice {GOAL:.2f}':<42}best"]
        for name, curve in (("fine-tuned", self.finetuned), ("from scratch", self.scratch)):
            at = curve.reached(GOAL)
            if at is None:
                when = f"not within {max(curve.dice, default=0)} iterations"
            else:
                seconds = readable_seconds(curve.seconds.get(at, 0.0))
                when = f"{at} iterations, {seconds} of training"
            lines.append(f"{name:<16}{when:<42}{readable_score(curve.best)}")
        return lines


def learning_curve(store: LocalWeightsStore, run: str) -> LearningCurve:
    """Read a run's learning curve from its store; scores are means over the volumes."""
    from dacapo_core.training.training_stats import stretches

    found: dict[int, list[dict[str, float]]] = {}
    for record in store.scores(run):
        names = {name for entry in record.entries for name in entry.scores if name.endswith(MEAN)}
        best = {name: record.best_entry(name, higher_is_better=True) for name in sorted(names)}
        found.setdefault(record.iteration, []).append(
            {name: each[0] for name, each in best.items() if each is not None}
        )
    dice = {
        iteration: {
            name: fmean(scores[name] for scores in volumes if name in scores)
            for name in sorted(set().union(*volumes))
        }
        for iteration, volumes in found.items()
    }
    seconds, total = {0: 0.0}, 0.0
    for stretch in stretches(run, store.training_stats(run)):
        for stats in stretch.iteration_stats:
            total += stats.time
            seconds[stats.iteration] = total
    return LearningCurve(run, dice, seconds)

"""The summary of a run that a person reads when its flow has ended."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dacapo_core.store.errors import RetentionError
from dacapo_core.store.records.score_names import in_words, overall, reasons_in_words, score_name
from dacapo_core.store.records.scores import shown_best
from tasks.pages.formatting import readable_bytes, readable_score, readable_seconds
from tasks.runtime.open_stores import open_store

if TYPE_CHECKING:
    from dacapo_core.store.retention import RetentionPolicy


@dataclass(frozen=True)
class RunSummary:
    """A run as its store has it.

    Attributes:
        began_at: the iteration that this process continued from.
        seconds: how long it took.
        best: ``<dataset>/<criterion>`` → (iteration, score).
        kept: iteration → reasons; ``pruned`` likewise.
        waiting: iterations whose validation was asked for and that have no scores yet.
    """

    run: str
    store: str
    num_iterations: int
    began_at: int
    seconds: float
    best: Mapping[str, tuple[int, float | None]] = field(default_factory=dict)
    kept: Mapping[int, Sequence[str]] = field(default_factory=dict)
    pruned: Mapping[int, Sequence[str]] = field(default_factory=dict)
    bytes_kept: int = 0
    bytes_freed: int = 0
    waiting: Sequence[int] = ()

    @property
    def was_complete(self) -> bool:
        """Whether there was nothing left to do."""
        return self.began_at >= self.num_iterations

    def line(self) -> str:
        """The summary in one line: where the run is, what is best, and what is kept."""
        said = [
            f"{self.run}: {'was' if self.was_complete else 'is'} complete at iteration "
            f"{self.num_iterations}"
        ]
        if best := overall(self.best):
            said.append(
                "best "
                + ", ".join(
                    f"{in_words([name])} {readable_score(score)} at {iteration}"
                    for name, (iteration, score) in sorted(best.items())
                )
            )
        if self.waiting:
            said.append(f"{len(self.waiting)} wait for their validation")
        said.append(f"{len(self.kept)} kept ({readable_bytes(self.bytes_kept)})")
        if self.pruned:
            said.append(f"{len(self.pruned)} pruned")
        return "; ".join(said)

    def __str__(self) -> str:
        return "\n".join(
            [
                self._headline(),
                *self._best_lines(),
                *self._waiting_lines(),
                *self._checkpoint_lines(),
            ]
        )

    def _headline(self) -> str:
        if self.was_complete:
            return f"Run {self.run} is complete at iteration {self.num_iterations}: nothing to do."
        began = "began" if self.began_at == 0 else f"resumed at iteration {self.began_at}"
        return (
            f"Run {self.run} {began} and is complete at iteration {self.num_iterations}, "
            f"after {readable_seconds(self.seconds)}."
        )

    def _best_lines(self) -> list[str]:
        if not self.best:
            return ["", "Best: nothing has been scored."]
        named = {in_words([name]): self.best[name] for name in sorted(self.best, key=_order)}
        width = max(len(name) for name in named)
        lines = [
            f"  {name:<{width}}  {readable_score(score):>7}  at iteration {iteration}"
            for name, (iteration, score) in named.items()
        ]
        return ["", "Best, on data it was not trained on", *lines]

    def _waiting_lines(self) -> list[str]:
        if not self.waiting:
            return []
        iterations = ", ".join(map(str, self.waiting))
        return [
            "",
            f"Waiting for their validation: {iterations}",
            "  Their scores and the best arrive later; until then they are not pruned.",
        ]

    def _checkpoint_lines(self) -> list[str]:
        lines = ["", f"Kept ({readable_bytes(self.bytes_kept)})"]
        lines += [_reason_line(each, why) for each, why in sorted(self.kept.items())]
        if self.pruned:
            lines += ["", f"Pruned ({readable_bytes(self.bytes_freed)} freed)"]
            lines += [_reason_line(each, why) for each, why in sorted(self.pruned.items())]
        return [*lines, "", f"Store: {self.store}"]


def _order(key: str) -> tuple[str, str, str]:
    """Sort the mean over all channels before single ones."""
    of = score_name(key)
    return of.dataset, of.criterion, of.channel or ""


def _reason_line(iteration: int, reasons: Sequence[str]) -> str:
    return textwrap.fill(
        "; ".join(reasons_in_words(reasons)),
        width=100,
        initial_indent=f"  {iteration:>7}  ",
        subsequent_indent=" " * 11,
    )


def summarise(
    run: str,
    store: str | None,
    retention: RetentionPolicy,
    *,
    num_iterations: int,
    began_at: int,
    seconds: float,
) -> RunSummary:
    """Summarise a run from its store."""
    opened = open_store(store)
    checkpoints = opened.history(run).checkpoints
    gone = {i: checkpoint for i, checkpoint in checkpoints.items() if checkpoint.fate != "kept"}
    there = {i: checkpoint for i, checkpoint in checkpoints.items() if i not in gone}
    try:
        kept = opened.prune(run, retention, dry_run=True).kept
    except RetentionError:
        # the policy does not fit the run yet, so nothing was pruned by it
        kept = {iteration: list(checkpoint.reasons) for iteration, checkpoint in there.items()}
    return RunSummary(
        run=run,
        store=opened.basedir,
        num_iterations=num_iterations,
        began_at=began_at,
        seconds=seconds,
        best=shown_best(opened.best_records(run)),
        kept=kept,
        pruned={iteration: checkpoint.reasons for iteration, checkpoint in gone.items()},
        bytes_kept=sum(checkpoint.size or 0 for checkpoint in there.values()),
        bytes_freed=sum(checkpoint.size or 0 for checkpoint in gone.values()),
        waiting=opened.pending(run),
    )

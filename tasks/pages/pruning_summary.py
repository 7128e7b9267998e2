"""What pruning came to over many runs: one row each, and totals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dacapo_core.store.pruning.prune_plan import PrunePlan
from dacapo_core.store.pruning.reclaiming import Sweep
from tasks.pages.checkpoint_ranges import shown_iterations
from tasks.pages.wording import first_few, markdown_table, readable_bytes


@dataclass(frozen=True)
class RunPruning:
    """What pruning and sweeping one run came to, or would come to; None of what was not done.

    ``error`` is why the run could not be pruned or swept.
    """

    run: str
    plan: PrunePlan | None = None
    swept: Sweep | None = None
    error: str | None = None

    @property
    def let_go(self) -> list[int]:
        """Iterations that this pruning deleted or marked."""
        return self.plan.doomed if self.plan is not None else []

    @property
    def pruned(self) -> tuple[int, int]:
        """How many were deleted at once, and their bytes."""
        return self._let_go(marked=False)

    @property
    def marked(self) -> tuple[int, int]:
        """How many were marked, and their bytes, which are freed when the grace period is over."""
        return self._let_go(marked=True)

    @property
    def reclaimed(self) -> tuple[int, int]:
        """How many were deleted past their grace period, and their bytes."""
        return (len(self.swept.reclaimed), self.swept.bytes_freed) if self.swept else (0, 0)

    @property
    def bytes_freed(self) -> int:
        """Of what is gone."""
        return self.pruned[1] + self.reclaimed[1]

    @property
    def failed(self) -> dict[int, str]:
        """Iteration → why it could not be deleted."""
        swept, plan = self.swept, self.plan
        return {**(swept.failed if swept else {}), **(plan.failed if plan else {})}

    @property
    def failure(self) -> str | None:
        """All that went wrong, in one line."""
        said = [first_few(self.failed)] if self.failed else []
        return "; ".join([*said, self.error] if self.error else said) or None

    def _let_go(self, *, marked: bool) -> tuple[int, int]:
        if self.plan is None or (self.plan.grace is not None) != marked:
            return 0, 0
        sizes = [self.plan.checkpoints[iteration].freed for iteration in self.plan.doomed]
        return len(sizes), sum(sizes)


def pruning_summary(
    store: str,
    runs: Sequence[RunPruning],
    *,
    dry_run: bool,
    why_none: str = "It has no runs",
) -> str:
    """What became of each run, or would become, as markdown.

    Args:
        why_none: said where there are no runs.
    """
    title = "Dry run: what pruning would do" if dry_run else "Pruned"
    parts = [f"# {title}", f"Store: `{store}`"]
    if not runs:
        return "\n\n".join([*parts, f"{why_none}."])
    rows = [(each.run, *_figures([each]), _iterations(each)) for each in runs]
    if len(runs) > 1:
        rows.append(("**all**", *_figures(runs), ""))
    header = ["run", "pruned", "marked", "reclaimed", "freed", "failed", "pruned or marked"]
    parts.append(markdown_table(header, rows))
    parts.append(
        "*Pruned* ones are deleted; *marked* ones can be restored until their grace period is "
        "over, and then free their space; *reclaimed* ones were marked earlier and are deleted now."
    )
    notes = [f"- **{each.run}**: {note}" for each in runs if each.plan for note in each.plan.notes]
    if notes:
        parts += ["## Notes", "\n".join(notes)]
    failures = [f"- **{each.run}**: {each.failure}" for each in runs if each.failure]
    if failures:
        parts += ["## Failed", "\n".join(failures)]
    return "\n\n".join(parts)


def _figures(runs: Sequence[RunPruning]) -> list[str]:
    def total(of: Callable[[RunPruning], tuple[int, int]]) -> str:
        found = [of(each) for each in runs]
        count = sum(number for number, _ in found)
        return f"{count} ({readable_bytes(sum(size for _, size in found))})" if count else "0"

    failed = sum(len(each.failed) + (each.error is not None) for each in runs)
    return [
        total(lambda each: each.pruned),
        total(lambda each: each.marked),
        total(lambda each: each.reclaimed),
        readable_bytes(sum(each.bytes_freed for each in runs)),
        str(failed),
    ]


def _iterations(each: RunPruning) -> str:
    return shown_iterations(each.let_go) or "–"

"""What pruning and sweeping one run came to, or would come to: figures, and one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dacapo_core.store.pruning.plan import PrunePlan
from dacapo_core.store.pruning.policy import shown_duration
from dacapo_core.store.pruning.trash import Sweep
from dacapo_core.store.records.score_names import short_why
from tasks.pages.formatting import first_few, readable_bytes, readable_moment
from tasks.pages.iterations import shown_iterations

MOST_REASONS = 3
UNTOUCHED = "nothing was touched"


@dataclass(frozen=True)
class Some:
    """Some checkpoints of a run, and their bytes."""

    iterations: Sequence[int] = ()
    bytes: int = 0


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
    def rehearsed(self) -> bool:
        """Whether nothing was touched."""
        return self.plan is not None and self.plan.dry_run

    @property
    def let_go(self) -> list[int]:
        """Iterations that this pruning deleted or marked."""
        return self.plan.doomed if self.plan is not None else []

    @property
    def pruned(self) -> Some:
        """Those deleted at once."""
        return self._let_go(marked=False)

    @property
    def marked(self) -> Some:
        """Those marked; their bytes are freed when the grace period is over."""
        return self._let_go(marked=True)

    @property
    def reclaimed(self) -> Some:
        """Those deleted past their grace period."""
        if self.swept is None:
            return Some()
        return Some(sorted(self.swept.reclaimed), self.swept.bytes_freed)

    @property
    def kept(self) -> Some:
        """Those that stay."""
        if self.plan is None:
            return Some()
        return Some(sorted(self.plan.kept), self.plan.bytes_kept)

    @property
    def bytes_freed(self) -> int:
        """Of what is gone."""
        return self.pruned.bytes + self.reclaimed.bytes

    @property
    def bytes_before(self) -> int | None:
        """Of all checkpoints of the run, before; None where that is not known."""
        after = self.bytes_after
        return None if after is None else after + self.bytes_freed

    @property
    def bytes_after(self) -> int | None:
        """The same afterwards."""
        if self.plan is None:
            return None
        return sum(each.weight for each in self.plan.checkpoints.values()) - self.pruned.bytes

    @property
    def restorable(self) -> list[tuple[list[int], datetime]]:
        """What is marked, now or earlier, and until when it can be restored at least."""
        until: dict[datetime, list[int]] = {}
        back = set(self.plan.restored) if self.plan is not None else set()
        for iteration, moment in (self.swept.waiting if self.swept is not None else {}).items():
            if iteration not in back:
                until.setdefault(moment, []).append(iteration)
        if self.plan is not None and self.plan.reclaim_after is not None and self.let_go:
            until.setdefault(self.plan.reclaim_after, []).extend(self.let_go)
        return [(sorted(found), moment) for moment, found in sorted(until.items())]

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

    def line(self) -> str:
        """``mito: 2 pruned, 8.1 MB freed, 5 kept (20.1 MB). 8, 16: not among the last 2``."""
        why = {i: self.plan.pruned[i] for i in self.let_go} if self.plan is not None else {}
        line = f"{self.run}: {figures([self])}"
        return f"{line}. {shown_reasons(why)}" if why else line

    def _let_go(self, *, marked: bool) -> Some:
        if self.plan is None or (self.plan.grace is not None) != marked:
            return Some()
        return Some(sorted(self.plan.doomed), self.plan.bytes_freed)


def figures(runs: Sequence[RunPruning]) -> str:
    """``12 pruned, 48.4 MB freed, 20 kept (80.5 MB)``; of a rehearsal in the conditional."""
    rehearsed = any(each.rehearsed for each in runs)
    be = "would be " if rehearsed else ""

    def total(found: Iterable[Some]) -> Some:
        together = list(found)
        return Some(
            [iteration for each in together for iteration in each.iterations],
            sum(each.bytes for each in together),
        )

    pruned, marked = total(each.pruned for each in runs), total(each.marked for each in runs)
    reclaimed, kept = total(each.reclaimed for each in runs), total(each.kept for each in runs)
    said = []
    if marked.iterations:
        said.append(
            f"{len(marked.iterations)} {be}marked ({readable_bytes(marked.bytes)}, "
            f"{_can_be_restored(runs)})"
        )
    if reclaimed.iterations:
        said.append(f"{len(reclaimed.iterations)} reclaimed past their grace period")
    if pruned.iterations or not marked.iterations:
        said.append(f"{len(pruned.iterations)} {be}pruned")
    if pruned.iterations or reclaimed.iterations:
        said.append(f"{readable_bytes(pruned.bytes + reclaimed.bytes)} {be}freed")
    said.append(f"{len(kept.iterations)} {be}kept ({readable_bytes(kept.bytes)})")
    return (f"rehearsal, {UNTOUCHED}: " if rehearsed else "") + ", ".join(said)


def _can_be_restored(runs: Sequence[RunPruning]) -> str:
    ends = [
        each.plan.reclaim_after
        for each in runs
        if each.plan is not None and each.plan.reclaim_after is not None
    ]
    if ends:
        return f"can be restored until {readable_moment(min(ends))}"
    graces = [each.plan.grace for each in runs if each.plan is not None and each.plan.grace]
    return f"could be restored for {shown_duration(min(graces))}"


def shown_reasons(reasons: Mapping[int, Sequence[str]], most: int = MOST_REASONS) -> str:
    """``8, 16: not among the last 2; 24: its record is damaged``; of more, how many."""
    by_why: dict[str, list[int]] = {}
    for iteration, each in sorted(reasons.items()):
        by_why.setdefault(short_why(each), []).append(iteration)
    said = [f"{shown_iterations(found)}: {why}" for why, found in list(by_why.items())[:most]]
    if left := sum(len(found) for found in list(by_why.values())[most:]):
        said.append(f"{left} more for other reasons")
    return "; ".join(said)

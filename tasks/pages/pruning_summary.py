"""What pruning came to over many runs, or would come to: one row each, and totals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dacapo_core.store.pruning.policy_words import policy_in_words
from dacapo_core.store.retention import RetentionPolicy
from tasks.pages.formatting import (
    command_on,
    markdown_link,
    markdown_table,
    readable_bytes,
    readable_moment,
)
from tasks.pages.iterations import shown_iterations
from tasks.pages.run_pruning import UNTOUCHED, RunPruning, Some, figures

_MEANS = (
    "*Pruned* ones are deleted; *marked* ones can be restored until their grace period is over, "
    "and then free their space; *reclaimed* ones were marked earlier and are deleted now."
)


def summary_line(runs: Sequence[RunPruning]) -> str:
    """``4 runs: 12 pruned, 48.4 MB freed, 20 kept (80.5 MB)``: the state message of the flow."""
    if not runs:
        return "no runs: nothing to prune"
    return f"{len(runs)} run{'' if len(runs) == 1 else 's'}: {figures(runs)}"


def pruning_summary(
    store: str,
    runs: Sequence[RunPruning],
    policy: RetentionPolicy,
    pages: Mapping[str, str],
    *,
    dry_run: bool,
    why_none: str = "It has no runs",
) -> str:
    """What became of each run, or would become, as markdown.

    Args:
        pages: run → path of its page of checkpoints.
        why_none: said where there are no runs.
    """
    title = f"Rehearsal: what pruning would do; {UNTOUCHED}" if dry_run else "Pruned"
    parts = [
        f"# {title}",
        f"**{_sentence(summary_line(runs))}**",
        f"Policy: {policy_in_words(policy)}. Store: `{store}`",
    ]
    if not runs:
        return "\n\n".join([*parts, f"{why_none}."])
    parts.append(_sizes(runs, dry_run))
    failed = any(each.failure for each in runs)
    rows = [
        (
            markdown_link(each.run, pages[each.run]) if each.run in pages else each.run,
            *_cells([each], failed),
        )
        for each in runs
    ]
    if len(runs) > 1:
        rows.append(("**all**", *_cells(runs, failed)))
    parts.append(markdown_table(_header(dry_run, failed), rows))
    if not dry_run:
        parts.append(_MEANS)
        parts += _restorable(store, runs)
    notes = [f"- **{each.run}**: {note}" for each in runs if each.plan for note in each.plan.notes]
    if notes:
        parts += ["## Notes", "\n".join(notes)]
    failures = [f"- **{each.run}**: {each.failure}" for each in runs if each.failure]
    if failures:
        parts += ["## Failed", "\n".join(failures)]
    return "\n\n".join(parts)


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


def _header(dry_run: bool, failed: bool) -> list[str]:
    be = "would be " if dry_run else ""
    reclaimed = [] if dry_run else ["reclaimed"]
    named = ["run", f"{be}pruned", f"{be}marked", *reclaimed, f"{be}kept"]
    return [*named, "before", f"{be}after", *(["failed"] if failed else [])]


def _cells(runs: Sequence[RunPruning], failed: bool) -> list[str]:
    def some(of: Callable[[RunPruning], Some]) -> str:
        found = [of(each) for each in runs]
        count = sum(len(each.iterations) for each in found)
        if not count:
            return "0"
        said = f"{count} ({readable_bytes(sum(each.bytes for each in found))})"
        return f"{said}: {shown_iterations(found[0].iterations)}" if len(runs) == 1 else said

    def total(sizes: Sequence[int | None]) -> str:
        known = [size for size in sizes if size is not None]
        return readable_bytes(sum(known) if known else None)

    rehearsed = any(each.rehearsed for each in runs)
    cells = [some(lambda each: each.pruned), some(lambda each: each.marked)]
    if not rehearsed:
        cells.append(some(lambda each: each.reclaimed))
    cells += [
        some(lambda each: each.kept),
        total([each.bytes_before for each in runs]),
        total([each.bytes_after for each in runs]),
    ]
    if failed:
        cells.append(str(sum(len(each.failed) + (each.error is not None) for each in runs)))
    return cells


def _sizes(runs: Sequence[RunPruning], dry_run: bool) -> str:
    known = [each for each in runs if each.bytes_before is not None]
    before = readable_bytes(sum(each.bytes_before or 0 for each in known))
    after = readable_bytes(sum(each.bytes_after or 0 for each in known))
    marked = sum(each.marked.bytes for each in known)
    of = "this run" if len(known) == 1 else f"these {len(known)} runs"
    said = (
        f"Checkpoints of {of}: {before} now, {after} would be left."
        if dry_run
        else f"Checkpoints of {of}: {before} before, {after} now."
    )
    if marked:
        goes = "would go" if dry_run else "goes"
        said += f" Of these {readable_bytes(marked)} {goes} when the grace period is over."
    return said


def _restorable(store: str, runs: Sequence[RunPruning]) -> list[str]:
    rows = [
        (
            each.run,
            shown_iterations(iterations),
            readable_moment(until),
            f"`{command_on('restore', each.run, store)}`",
        )
        for each in runs
        for iterations, until in each.restorable
    ]
    if not rows:
        return []
    header = ["run", "iterations", "at least until", "to restore one"]
    return ["## Can be restored", markdown_table(header, rows)]

"""``dacapo-store prune``: prune runs by a policy, or show what it would do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dacapo_core.command_line.each_run import EachRun, choose
from dacapo_core.command_line.exit_codes import USAGE, exit_codes, say_error
from dacapo_core.command_line.output import readable_age, readable_size, show_json, show_table
from dacapo_core.command_line.store_option import Where

if TYPE_CHECKING:
    from dacapo_core.store.pruning.plan import PrunePlan


def prune(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Names, or patterns such as 'mito-*'."),
    ] = None,
    all_runs: Annotated[bool, typer.Option("--all", help="All runs of the store.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only show the plan.")] = False,
    keep_last: Annotated[int | None, typer.Option(help="Keep the newest N.")] = None,
    keep_every: Annotated[int | None, typer.Option(help="Keep multiples of N.")] = None,
    keep_best: Annotated[
        int | None, typer.Option(help="Keep the best N of each dataset and criterion.")
    ] = None,
    criterion: Annotated[
        list[str] | None,
        typer.Option(help="For --keep-best: `dice` or `dataset/dice`; may be repeated."),
    ] = None,
    keep_hourly: Annotated[int | None, typer.Option(help="Keep one of each of N hours.")] = None,
    keep_daily: Annotated[int | None, typer.Option(help="Keep one of each of N days.")] = None,
    keep_weekly: Annotated[int | None, typer.Option(help="Keep one of each of N weeks.")] = None,
    max_total_size: Annotated[str | None, typer.Option(help="Limit a run, as `200GB`.")] = None,
    keep: Annotated[
        list[int] | None, typer.Option(help="Keep this iteration; may be repeated.")
    ] = None,
    minimum_age: Annotated[str | None, typer.Option(help="Prune nothing younger, `7d`.")] = None,
    grace: Annotated[
        str | None, typer.Option(help="Only mark; a sweep deletes after this time, `7d`.")
    ] = None,
) -> None:
    """Prune runs by a policy, and say of each checkpoint why it is kept or pruned."""
    where: Where = context.obj
    with exit_codes():
        from dacapo_core.store.retention import RetentionPolicy

        if bool(runs) == all_runs:
            typer.echo("dacapo-store: name the runs, or give --all", err=True)
            raise typer.Exit(USAGE)
        given = {
            "keep_last": keep_last,
            "keep_every": keep_every,
            "keep_best": keep_best,
            "criteria": criterion or None,
            "keep_hourly": keep_hourly,
            "keep_daily": keep_daily,
            "keep_weekly": keep_weekly,
            "max_total_size": max_total_size,
            "pins": keep or None,
            "minimum_age": minimum_age,
            "grace": grace,
        }
        policy = RetentionPolicy.model_validate(
            {name: value for name, value in given.items() if value is not None}
        )
        store = where.weights()
        each, shown = EachRun(), list[dict[str, object]]()
        for run in choose(where, store, runs or None, each):
            with each.run(run):
                plan = store.prune(run, policy, dry_run=dry_run)
                if where.json:
                    shown.append(_plan_json(plan, datetime.now(UTC)))
                else:
                    _show_plan(plan, datetime.now(UTC))
                for iteration, error in plan.failed.items():
                    say_error(f"{run}/{iteration}: {error}")
                    each.failed()
        if where.json:
            shown += [{"run": run, "error": error} for run, error in each.errors.items()]
            show_json({"store": store.basedir, "plans": shown})
        each.exit()


def _plan_json(plan: PrunePlan, now: datetime) -> dict[str, object]:
    return {
        "run": plan.run,
        "dry_run": plan.dry_run,
        "checkpoints": plan.table(now),
        "bytes_kept": plan.bytes_kept,
        "bytes_freed": plan.bytes_freed,
        "bytes_marked": plan.bytes_marked,
        "grace_seconds": None if plan.grace is None else plan.grace.total_seconds(),
        "above_limit": None if plan.above_limit is None else plan.above_limit._asdict(),
        "failed": plan.failed,
        "notes": plan.notes,
        "operation": plan.operation,
    }


def _show_plan(plan: PrunePlan, now: datetime) -> None:
    from dacapo_core.store.pruning.policy import shown_duration
    from dacapo_core.store.records.score_names import overall, reasons_in_words, shown_scores

    marks = plan.grace is not None and plan.doomed
    keep, go = "kept", "marked" if marks else "pruned"
    if plan.dry_run:
        keep, go = "would keep", "mark" if marks else "prune"
    title = (
        f"{plan.run}: {keep} {len(plan.kept)} ({readable_size(plan.bytes_kept)}), "
        f"{go} {len(plan.doomed)} ({readable_size(plan.bytes_freed)})"
    )
    if marked := len(plan.pruned) - len(plan.doomed):
        title += f", {marked} marked before ({readable_size(plan.bytes_marked)})"
    if plan.dry_run:
        title += "; nothing was touched"
    doomed = set(plan.doomed)
    rows = [
        [
            str(row["iteration"]),
            _became(plan, row["iteration"], doomed),
            "; ".join(reasons_in_words(row["reasons"])),
            shown_scores(overall(row["scores"])),
            readable_size(row["bytes"]),
            readable_age(row["age_seconds"]),
        ]
        for row in plan.table(now)
    ]
    columns = ["iteration>", "kept or pruned", "reasons", "scores", "size>", "age>"]
    show_table(title, columns, rows)
    if plan.grace is not None and plan.doomed:
        can, deletes = ("could", "would delete") if plan.dry_run else ("can", "deletes")
        typer.echo(
            f"Marked ones {can} be restored for {shown_duration(plan.grace)}; "
            f"then `dacapo-store sweep` {deletes} them."
        )
    for note in plan.notes:
        typer.echo(f"Note: {note}")


def _became(plan: PrunePlan, iteration: int, doomed: set[int]) -> str:
    """What became of a checkpoint, or would become."""
    if iteration not in plan.kept and iteration not in doomed:
        return "marked before"
    became = "kept" if iteration in plan.kept else "pruned" if plan.grace is None else "marked"
    return f"would be {became}" if plan.dry_run else became

"""The commands that change a store: pin, unpin, remove, prune, restore, sweep."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dacapo_core.command_line.looking import Iteration, RunName
from dacapo_core.command_line.output import readable_age, readable_size, show_json, show_table
from dacapo_core.command_line.store_option import (
    USAGE,
    EachRun,
    Where,
    exit_codes,
    say_astray,
    say_error,
)

if TYPE_CHECKING:
    from dacapo_core.store.metadata_store import MetadataStore
    from dacapo_core.store.pruning.plan import PrunePlan
    from dacapo_core.store.pruning.trash import Sweep


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (pin, unpin, remove, prune, restore, sweep):
        app.command()(command)


def pin(
    context: typer.Context,
    run: RunName,
    iteration: Iteration,
    why: Annotated[str | None, typer.Option(help="For whoever asks later.")] = None,
) -> None:
    """Keep a checkpoint until it is unpinned."""
    where: Where = context.obj
    with exit_codes():
        from dacapo_core.store.records.process_identity import this_person

        where.records().pin(run, iteration, why=why, by=this_person())
        _said(where, {"run": run, "pinned": iteration}, f"{run}/{iteration} is pinned")


def unpin(
    context: typer.Context,
    run: RunName,
    iteration: Iteration,
    child: Annotated[
        str | None, typer.Option(help="The pin of this run, which started from it.")
    ] = None,
) -> None:
    """Let a pinned checkpoint be pruned again."""
    where: Where = context.obj
    with exit_codes():
        where.records().unpin(run, iteration, child=child)
        _said(where, {"run": run, "unpinned": iteration}, f"{run}/{iteration} is not pinned")


def remove(
    context: typer.Context,
    run: RunName,
    iteration: Iteration,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also the latest, a best or a pinned one, with what names it."
        ),
    ] = False,
) -> None:
    """Delete one checkpoint for good."""
    where: Where = context.obj
    with exit_codes():
        from dacapo_core.store.pruning.trash import remove_checkpoint

        remove_checkpoint(where.records().filesystem, run, iteration, force=force)
        _said(where, {"run": run, "removed": iteration}, f"{run}/{iteration} is removed")


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
        for run in _chosen(where, store, runs or None, each):
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


def _chosen(
    where: Where, store: MetadataStore, said: Sequence[str] | None, each: EachRun
) -> list[str]:
    """The runs that were named or meant, or all; what means none is said and is no end."""
    from dacapo_core.store.missing_store import why_no_runs
    from dacapo_core.store.run_listing import list_runs
    from dacapo_core.store.run_patterns import choose_runs

    if said is None:
        found, astray = list_runs(store.filesystem)
        say_astray(astray)
        if not found and not where.json:
            typer.echo(f"{why_no_runs(store.filesystem)}.")
        return found
    chosen: set[str] = set()
    for name in said:
        with each.run(name):
            chosen.update(choose_runs(store, [name]))
    return sorted(chosen)


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


def restore(context: typer.Context, run: RunName, iteration: Iteration) -> None:
    """Bring back a checkpoint that was pruned and is within its grace period, and pin it."""
    where: Where = context.obj
    with exit_codes():
        restored = where.records().restore(run, iteration)
        _said(
            where,
            {"run": run, "iteration": iteration, "restored": restored, "pinned": restored},
            f"{run}/{iteration} is back, and pinned: it is kept until "
            f"`dacapo-store unpin {run} {iteration}`"
            if restored
            else f"{run}/{iteration} was not pruned",
        )


def sweep(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Names, or patterns such as 'mito-*'. Default: all runs."
        ),
    ] = None,
) -> None:
    """Delete what is past its grace period, and what dead writers left."""
    where: Where = context.obj
    with exit_codes():
        store = where.records()
        each, swept = EachRun(), dict[str, object]()
        for name in _chosen(where, store, runs or None, each):
            with each.run(name):
                done = store.sweep(name)[name]
                swept[name] = done
                if not where.json:
                    _show_sweep(name, done)
                for iteration, error in done.failed.items():
                    say_error(f"{name}/{iteration}: {error}")
                    each.failed()
        if where.json:
            show_json(swept | {name: {"error": error} for name, error in each.errors.items()})
        each.exit()


def _show_sweep(run: str, done: Sweep) -> None:
    from dacapo_core.store.records.score_names import reasons_in_words

    typer.echo(
        f"{run}: {len(done.reclaimed)} checkpoints deleted ({readable_size(done.bytes_freed)}), "
        f"{len(done.waiting)} within their grace period, {len(done.left_overs)} left-overs removed"
    )
    for iteration, reasons in done.reclaimed.items():
        typer.echo(f"  deleted {iteration}: {'; '.join(reasons_in_words(reasons))}")
    for iteration, reasons in done.protected.items():
        typer.echo(f"  stays {iteration}: {'; '.join(reasons_in_words(reasons))}")


def _said(where: Where, value: dict[str, object], sentence: str) -> None:
    if where.json:
        show_json(value)
    else:
        typer.echo(sentence)

"""``dacapo-store sweep``: delete what is past its grace period."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dacapo_core.command_line.each_run import EachRun, choose
from dacapo_core.command_line.exit_codes import exit_codes, say_error
from dacapo_core.command_line.output import readable_size, show_json
from dacapo_core.command_line.store_option import Where

if TYPE_CHECKING:
    from dacapo_core.store.pruning.trash import Sweep


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
        for name in choose(where, store, runs or None, each):
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

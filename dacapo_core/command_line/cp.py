"""``dacapo-store cp``: copy a run to another store."""

from __future__ import annotations

from typing import Annotated

import typer

from dacapo_core.command_line.arguments import RunName
from dacapo_core.command_line.exit_codes import exit_codes
from dacapo_core.command_line.output import show_json
from dacapo_core.command_line.store_option import Where


def cp(
    context: typer.Context,
    run: RunName,
    to: Annotated[str, typer.Argument(metavar="STORE", help="Path or URL to copy to.")],
    name: Annotated[str | None, typer.Option("--as", help="Name of the run there.")] = None,
    iteration: Annotated[
        list[int] | None, typer.Option(help="Only this one; may be repeated.")
    ] = None,
    to_storage_options: Annotated[
        str | None, typer.Option(help="Options of the target's file system, JSON.")
    ] = None,
) -> None:
    """Copy a run to another store, with records, scores and best; each copy is verified."""
    where: Where = context.obj
    with exit_codes():
        from dacapo_core.store.copy_run import copy_run, marked_iterations

        options = to_storage_options or where.storage_options
        source = where.records()
        target = Where(to, options, where.json).records(may_be_new=True)
        left = sorted(marked_iterations(source, run)) if not iteration else []
        copied = []
        for copy in copy_run(source, target, run, name=name, iterations=iteration or None):
            copied.append(copy)
            if not where.json:
                typer.echo(f"{name or run}/{copy} is in {target.basedir}")
        if where.json:
            said = {"store": target.basedir, "run": name or run, "iterations": copied}
            show_json({**said, "left_marked": left})
        elif left:
            typer.echo(
                f"left behind, pruned within their grace period: {', '.join(map(str, left))}; "
                "--iteration copies one as a live checkpoint"
            )

"""``dacapo-store remove``: delete one checkpoint for good."""

from __future__ import annotations

from typing import Annotated

import typer

from dacapo_core.command_line.arguments import Iteration, RunName
from dacapo_core.command_line.exit_codes import exit_codes
from dacapo_core.command_line.output import show_sentence
from dacapo_core.command_line.store_option import Where


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
        from dacapo_core.store.pruning.remove import remove_checkpoint

        remove_checkpoint(where.records().filesystem, run, iteration, force=force)
        show_sentence(
            where.json, {"run": run, "removed": iteration}, f"{run}/{iteration} is removed"
        )

"""``dacapo-store pin`` and ``unpin``: keep a checkpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from dacapo_core.command_line.arguments import Iteration, RunName
from dacapo_core.command_line.exit_codes import exit_codes
from dacapo_core.command_line.output import show_sentence
from dacapo_core.command_line.store_option import Where


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
        show_sentence(where.json, {"run": run, "pinned": iteration}, f"{run}/{iteration} is pinned")


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
        show_sentence(
            where.json, {"run": run, "unpinned": iteration}, f"{run}/{iteration} is not pinned"
        )

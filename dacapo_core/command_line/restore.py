"""``dacapo-store restore``: bring a pruned checkpoint back."""

from __future__ import annotations

import typer

from dacapo_core.command_line.arguments import Iteration, RunName
from dacapo_core.command_line.exit_codes import exit_codes
from dacapo_core.command_line.output import show_sentence
from dacapo_core.command_line.store_option import Where


def restore(context: typer.Context, run: RunName, iteration: Iteration) -> None:
    """Bring back a checkpoint that was pruned and is within its grace period, and pin it."""
    where: Where = context.obj
    with exit_codes():
        restored = where.records().restore(run, iteration)
        show_sentence(
            where.json,
            {"run": run, "iteration": iteration, "restored": restored, "pinned": restored},
            f"{run}/{iteration} is back, and pinned: it is kept until "
            f"`dacapo-store unpin {run} {iteration}`"
            if restored
            else f"{run}/{iteration} was not pruned",
        )

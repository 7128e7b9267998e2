"""``dacapo-store why``: what became of a checkpoint, and why."""

from __future__ import annotations

import typer

from dacapo_core.command_line.arguments import Iteration, RunName
from dacapo_core.command_line.checkpoint_table import as_json
from dacapo_core.command_line.exit_codes import exit_codes
from dacapo_core.command_line.output import show_json
from dacapo_core.command_line.store_option import Where


def why(context: typer.Context, run: RunName, iteration: Iteration) -> None:
    """Say what became of a checkpoint, why, and whether it can be brought back."""
    where: Where = context.obj
    with exit_codes():
        from dacapo_core.store.errors import MissingCheckpointError
        from dacapo_core.store.records.score_names import reasons_in_words

        found = where.records().history(run)
        checkpoint = found.checkpoints.get(iteration)
        if checkpoint is None:
            raise MissingCheckpointError(
                f"run {run!r} has no checkpoint of iteration {iteration}, and none is on record: "
                "it was never stored, or it was deleted without this software"
            )
        if where.json:
            show_json(
                {
                    "run": run,
                    "answer": checkpoint.answer(run),
                    **as_json(checkpoint),
                    "events": list(checkpoint.events),
                    "damaged_records": list(found.damaged_records),
                }
            )
            return
        typer.echo(checkpoint.answer(run))
        for event in checkpoint.events:
            by = f" by {event.by}" if event.by else ""
            reasons = f" ({'; '.join(reasons_in_words(event.reasons))})" if event.reasons else ""
            typer.echo(f"  {event.time:%Y-%m-%d %H:%M:%S}  {event}{by}{reasons}")
        for path in found.damaged_records:
            typer.echo(f"cannot be read: {path}")

"""``dacapo-store history``: all checkpoints that a run has or had."""

from __future__ import annotations

import typer

from dacapo_core.command_line.arguments import RunName
from dacapo_core.command_line.checkpoint_table import COLUMNS, as_json, cells
from dacapo_core.command_line.exit_codes import exit_codes
from dacapo_core.command_line.output import show_json, show_table
from dacapo_core.command_line.store_option import Where


def history(context: typer.Context, run: RunName) -> None:
    """List all checkpoints of a run that are there or are on record as gone."""
    where: Where = context.obj
    with exit_codes():
        from dacapo_core.store.records.score_names import in_words

        found = where.records().history(run)
        if where.json:
            show_json(
                {
                    "run": run,
                    "checkpoints": [as_json(c) for c in found.checkpoints.values()],
                    "operations": found.operations,
                    "withdrawn": found.withdrawn,
                    "damaged_records": list(found.damaged_records),
                }
            )
            return
        checkpoints = list(found.checkpoints.values())
        show_table(f"{run}: history", COLUMNS, [cells(c) for c in reversed(checkpoints)])
        for each in found.withdrawn:
            if each.occasion == "forgotten":
                what, by = in_words(each.judged), f" by {each.by}" if each.by else ""
                typer.echo(f"{each.time:%Y-%m-%d %H:%M:%S}  forgotten{by}: {what}")
        for path in found.damaged_records:
            typer.echo(f"cannot be read: {path}")

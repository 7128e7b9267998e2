"""``dacapo-store pins``: what is pinned in a run."""

from __future__ import annotations

import typer

from dacapo_core.command_line.arguments import RunName
from dacapo_core.command_line.exit_codes import exit_codes
from dacapo_core.command_line.output import show_json, show_table
from dacapo_core.command_line.store_option import Where


def pins(context: typer.Context, run: RunName) -> None:
    """List what is pinned, by hand or by runs that start from it."""
    where: Where = context.obj
    with exit_codes():
        found = where.records().pins(run)
        if where.json:
            show_json({"run": run, "pins": found})
            return
        rows = [
            [str(iteration), str(pin), pin.by or "–", f"{pin.time:%Y-%m-%d %H:%M}"]
            for iteration, several in found.items()
            for pin in several
        ]
        show_table(f"{run}: {len(rows)} pins", ["iteration>", "why", "by", "since (UTC)"], rows)

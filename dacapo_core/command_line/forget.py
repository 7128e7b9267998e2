"""``dacapo-store forget``: drop a dataset or a criterion of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from dacapo_core.command_line.arguments import RunName
from dacapo_core.command_line.exit_codes import USAGE, exit_codes
from dacapo_core.command_line.output import show_json
from dacapo_core.command_line.store_option import Where


def forget(
    context: typer.Context,
    run: RunName,
    dataset: Annotated[str | None, typer.Option(help="Of this dataset alone.")] = None,
    criterion: Annotated[str | None, typer.Option(help="Of this criterion alone.")] = None,
) -> None:
    """Forget a dataset or a criterion of a run: its bests, DaCapo's copies of them, its scores.

    No checkpoint is touched. `history` keeps what was best and what was scored.
    """
    where: Where = context.obj
    with exit_codes():
        if dataset is None and criterion is None:
            typer.echo("dacapo-store: give --dataset, --criterion or both", err=True)
            raise typer.Exit(USAGE)
        forgotten = where.records().forget(run, dataset, criterion)
        if where.json:
            rows = [{"dataset": each, "criterion": name} for each, name in forgotten]
            show_json({"run": run, "forgotten": rows})
        else:
            from dacapo_core.store.records.score_names import in_words

            named = in_words(f"{each}/{name}" for each, name in forgotten)
            typer.echo(f"{run}: forgotten {named}")

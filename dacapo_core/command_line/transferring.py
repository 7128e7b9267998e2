"""The commands that take checkpoints elsewhere: cp, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dacapo_core.command_line.looking import RunName
from dacapo_core.command_line.output import readable_size, show_json
from dacapo_core.command_line.store_option import FAILED, Where, exit_codes


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(cp)
    app.command()(export)


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


def export(
    context: typer.Context,
    run: RunName,
    criterion: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT", help="An iteration, 'latest', or DATASET/CRITERION for the best."
        ),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new local file.")],
) -> None:
    """Write the model's weights alone, as a plain state dict that torch.load reads.

    Of a run that keeps a moving average of its weights, the average: it is what was judged. Which
    raw values they take as -1 and 1 is written beside, in FILE.json, where it is on record.
    """
    where: Where = context.obj
    with exit_codes():
        import json
        import os

        import torch

        from dacapo_core.data.intensity_range import described
        from dacapo_core.experiments.datasplits.run_intensity_ranges import ranges_of_run
        from dacapo_core.experiments.starts.start import find_iteration
        from dacapo_core.training.scored_weights import retrieve_judged_weights

        beside = file.with_name(f"{file.name}.json")
        for each in (file, beside):
            if each.exists():
                typer.echo(f"dacapo-store: {each} exists; it is not overwritten", err=True)
                raise typer.Exit(FAILED)
        store = where.weights()
        iteration = find_iteration(store, run, criterion)
        model, which = retrieve_judged_weights(store, run, iteration)
        known = ranges_of_run(store.run_config(run), store.intensities(run))
        ranges = {array: found for array, found in known.items() if found is not None}
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            torch.save(dict(model), partial)
            os.link(partial, file)
        finally:
            partial.unlink(missing_ok=True)
        said: dict[str, Any] = {"run": run, "iteration": iteration, "weights": which}
        if ranges:
            said["intensity_ranges"] = ranges
            with beside.open("x", encoding="utf-8") as opened:
                json.dump(said, opened, indent=1)
        size = file.stat().st_size
        if where.json:
            show_json({**said, "file": str(file), "bytes": size})
            return
        of = f"{'moving average' if which == 'average' else 'model'} of {run}/{iteration}"
        typer.echo(f"{file}: {of}, {len(model)} tensors, {readable_size(size)}")
        if ranges:
            typer.echo(f"{beside}: {described(ranges)}")

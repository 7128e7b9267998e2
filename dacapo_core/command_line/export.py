"""``dacapo-store export``: the model's weights alone, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dacapo_core.command_line.arguments import RunName
from dacapo_core.command_line.exit_codes import FAILED, exit_codes
from dacapo_core.command_line.output import readable_size, show_json
from dacapo_core.command_line.store_option import Where


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

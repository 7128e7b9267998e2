"""``dacapo-store show``: what is in a checkpoint."""

from __future__ import annotations

import typer

from dacapo_core.command_line.arguments import Iteration, RunName
from dacapo_core.command_line.exit_codes import exit_codes
from dacapo_core.command_line.output import readable_size, show_json, show_table
from dacapo_core.command_line.store_option import Where


def show(context: typer.Context, run: RunName, iteration: Iteration) -> None:
    """Show what is in a checkpoint: keys, shapes, types, and its record."""
    where: Where = context.obj
    with exit_codes():
        from dacapo_core.store.checkpoint_files import read_record
        from dacapo_core.store.checkpoint_format.savable_state import tensors_of

        store = where.weights()
        weights = store.retrieve_weights(run, iteration, verify=False)
        record = read_record(store.filesystem, run, iteration)
        tensors = [
            ("/".join(map(str, path)), str(tensor.dtype).removeprefix("torch."), [*tensor.shape])
            for path, tensor in tensors_of(vars(weights))
        ]
        if where.json:
            rows = [{"key": key, "dtype": dtype, "shape": shape} for key, dtype, shape in tensors]
            show_json({"run": run, "iteration": iteration, "record": record, "tensors": rows})
            return
        show_table(
            f"{run}/{iteration}: {len(tensors)} tensors",
            ["key", "type", "shape"],
            [[key, dtype, " × ".join(map(str, shape))] for key, dtype, shape in tensors],
        )
        if record is None:
            typer.echo("no record: written by DaCapo, or stored elsewhere")
        else:
            typer.echo(
                f"{readable_size(record.bytes)}, stored {record.stored:%Y-%m-%d %H:%M:%S} UTC by "
                f"{record.by}, torch {record.torch}, xxh3 {record.digest}"
            )

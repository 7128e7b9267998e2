"""``dacapo-store verify``: read checkpoints through and note what was found."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from dacapo_core.command_line.arguments import RunName
from dacapo_core.command_line.exit_codes import DAMAGED, REFUSED, exit_codes
from dacapo_core.command_line.output import show_json
from dacapo_core.command_line.store_option import Where

if TYPE_CHECKING:
    from dacapo_core.store.filesystems.file_info import FileInfo
    from dacapo_core.store.local_weights_store import LocalWeightsStore


def verify(
    context: typer.Context,
    run: RunName,
    iterations: Annotated[
        list[int] | None, typer.Argument(metavar="[ITERATION]...", help="Default: all.")
    ] = None,
) -> None:
    """Read checkpoints and compare them with their digests; exits with 4 when one is damaged.

    What was found is noted where the store can be written, and `ls` shows it. One that asks for
    code to be run is not read: it is not known to be damaged, and exits with 5.
    """
    where: Where = context.obj
    with exit_codes():
        from dacapo_core.store import layout
        from dacapo_core.store.errors import (
            DamagedCheckpointError,
            MissingCheckpointError,
            UnsafeCheckpointError,
        )

        store, folder = where.weights(), layout.iterations_folder(layout.check_run_name(run))
        files = list(store.filesystem.list_files(folder))
        there = (layout.parse_iteration(file.name) for file in files)
        wanted = iterations or sorted(iteration for iteration in there if iteration is not None)
        if not wanted:
            raise MissingCheckpointError(f"run {run!r} has no checkpoints in {store.basedir}")
        listed = {file.name: file for file in files if file.problem is None}
        found: dict[int, str | None] = {}
        unsafe: dict[int, str] = {}
        notes: list[str] = []
        for iteration in wanted:
            try:
                compared = store.verify(run, iteration)
            except UnsafeCheckpointError as error:
                unsafe[iteration] = said = str(error)
            except DamagedCheckpointError as error:
                found[iteration] = said = str(error)
            else:
                found[iteration], said = None, f"whole, by its {compared.against}"
                if compared.damaged_record is not None:
                    notes.append(compared.damaged_record)
            if iteration in found and str(iteration) in listed:
                _note(store, run, iteration, listed[str(iteration)], found[iteration])
            if not where.json:
                typer.echo(f"{run}/{iteration}: {said}")
        notes += store.filesystem.limits(folder)
        if where.json:
            show_json(
                {
                    "run": run,
                    "damaged": {i: what for i, what in found.items() if what},
                    "unsafe": unsafe,
                    "whole": [i for i, what in found.items() if not what],
                    "notes": notes,
                }
            )
        else:
            for note in notes:
                typer.echo(f"Note: {note}")
        if any(found.values()):
            raise typer.Exit(DAMAGED)
        if unsafe:
            raise typer.Exit(REFUSED)


def _note(
    store: LocalWeightsStore, run: str, iteration: int, file: FileInfo, damage: str | None
) -> None:
    from dacapo_core.store.errors import StoreNotWritableError
    from dacapo_core.store.records.process_identity import this_person
    from dacapo_core.store.records.verification_records import note_verification

    # a reader may verify too
    with suppress(StoreNotWritableError):
        note_verification(store.filesystem, run, iteration, file, damage, by=this_person())

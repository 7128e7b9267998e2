"""``dacapo-store ls``: the runs of a store, or the checkpoints of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dacapo_core.command_line.checkpoint_table import COLUMNS, as_json, cells
from dacapo_core.command_line.exit_codes import exit_codes, say_astray
from dacapo_core.command_line.output import readable_age, readable_size, show_json, show_table
from dacapo_core.command_line.store_option import Where

if TYPE_CHECKING:
    from dacapo_core.store.metadata_store import MetadataStore


def ls(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="A run, or runs by a pattern such as 'mito-*'. Default: all runs."
        ),
    ] = None,
) -> None:
    """List the runs of a store, or the checkpoints of a run."""
    where: Where = context.obj
    with exit_codes():
        from dacapo_core.store.run_listing import list_runs
        from dacapo_core.store.run_patterns import choose_runs, is_pattern

        store = where.records()
        if run is None:
            _list_runs(where, store, *list_runs(store.filesystem))
        elif is_pattern(run) and (runs := choose_runs(store, [run])) != [run]:
            _list_runs(where, store, runs, {})
        else:
            _list_checkpoints(where, store, run)


def _list_runs(
    where: Where, store: MetadataStore, runs: Sequence[str], astray: Mapping[str, str]
) -> None:
    from dacapo_core.store.missing_store import why_no_runs
    from dacapo_core.store.pruning.run_inventory import list_entries
    from dacapo_core.store.records.checkpoint_flags import CheckpointFlags
    from dacapo_core.store.records.verification_records import read_damage

    say_astray(astray)
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = []
    for name in runs:
        flags = CheckpointFlags(damaged=read_damage(store.filesystem, name))
        found, damaged = list_entries(store.filesystem, name, flags)
        whole = [iteration for iteration, checkpoint in found.items() if not checkpoint.damaged]
        latest = found[max(whole)] if whole else None
        rows.append(
            {
                "run": name,
                "checkpoints": len(found),
                "latest": None if latest is None else latest.iteration,
                "bytes": sum(checkpoint.weight for checkpoint in found.values()),
                "age_seconds": None if latest is None else (now - latest.stored).total_seconds(),
                "damaged": damaged | {i: c.damaged for i, c in found.items() if c.damaged},
            }
        )
    if where.json:
        show_json({"store": store.basedir, "runs": rows, "damaged_runs": astray})
        return
    if not rows:
        typer.echo(f"{why_no_runs(store.filesystem)}.")
        return
    show_table(
        f"{store.basedir}: {'1 run' if len(rows) == 1 else f'{len(rows)} runs'}",
        ["run", "checkpoints>", "latest>", "size>", "age>"],
        [
            [
                row["run"],
                str(row["checkpoints"]),
                "–" if row["latest"] is None else str(row["latest"]),
                readable_size(row["bytes"]),
                "–" if row["age_seconds"] is None else readable_age(row["age_seconds"]),
            ]
            for row in rows
        ],
    )
    for row in rows:
        for iteration, what in sorted(row["damaged"].items()):
            typer.echo(f"damaged: {row['run']}/{iteration}: {what}")


def _list_checkpoints(where: Where, store: MetadataStore, run: str) -> None:
    live = [c for c in store.history(run).checkpoints.values() if c.fate != "pruned"]
    if where.json:
        show_json({"store": store.basedir, "run": run, "checkpoints": [as_json(c) for c in live]})
        return
    show_table(f"{run}: {len(live)} checkpoints", COLUMNS, [cells(c) for c in reversed(live)])

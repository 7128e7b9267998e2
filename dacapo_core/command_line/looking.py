"""The commands that only look: ls, show, pins, history, why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dacapo_core.command_line.output import readable_age, readable_size, show_json, show_table
from dacapo_core.command_line.store_option import Where, exit_codes, say_astray

if TYPE_CHECKING:
    from dacapo_core.store.metadata_store import MetadataStore
    from dacapo_core.store.records.history import CheckpointHistory

RunName = Annotated[str, typer.Argument(metavar="RUN", help="Name of the run.")]
Iteration = Annotated[int, typer.Argument(metavar="ITERATION", help="Iteration of the checkpoint.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (ls, show, pins, history, why):
        app.command()(command)


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
    from dacapo_core.store.pruning.plan_inputs import list_entries
    from dacapo_core.store.records.checkpoint_flags import IterationNotes
    from dacapo_core.store.records.verification_records import read_damage

    say_astray(astray)
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = []
    for name in runs:
        notes = IterationNotes(damaged=read_damage(store.filesystem, name))
        found, damaged = list_entries(store.filesystem, name, notes)
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
        show_json({"store": store.basedir, "run": run, "checkpoints": [_row(c) for c in live]})
        return
    show_table(f"{run}: {len(live)} checkpoints", _COLUMNS, [_cells(c) for c in reversed(live)])


_COLUMNS = ["iteration>", "state", "size>", "age>", "verified", "best for", "scores", "why"]


def _row(checkpoint: CheckpointHistory) -> dict[str, Any]:
    return {
        "iteration": checkpoint.iteration,
        "fate": checkpoint.fate,
        "reasons": list(checkpoint.reasons),
        "bytes": checkpoint.size,
        "stored": checkpoint.stored,
        "age_seconds": None if checkpoint.stored is None else _seconds_since(checkpoint.stored),
        "verified": checkpoint.verified,
        "verified_at": checkpoint.verified_at,
        "best_for": list(checkpoint.best_for),
        "scores": checkpoint.scores,
        "damaged": checkpoint.damaged,
        "pruned": checkpoint.pruned,
        "pruned_by": checkpoint.pruned_by,
        "restorable_until": checkpoint.restorable_until,
    }


def _cells(checkpoint: CheckpointHistory) -> list[str]:
    from dacapo_core.store.records.score_names import (
        in_words,
        overall,
        reasons_in_words,
        shown_scores,
    )

    verified = "–"
    if checkpoint.verified is False:
        verified = "damaged"
    elif checkpoint.verified_at is not None:
        verified = f"{readable_age(_seconds_since(checkpoint.verified_at))} ago"
    return [
        str(checkpoint.iteration),
        "damaged" if checkpoint.damaged else checkpoint.fate,
        readable_size(checkpoint.size),
        "–" if checkpoint.stored is None else readable_age(_seconds_since(checkpoint.stored)),
        verified,
        in_words(checkpoint.best_for),
        shown_scores(overall(checkpoint.scores)),
        # what it is best for has a column of its own
        "; ".join(
            reasons_in_words(why for why in checkpoint.reasons if not why.startswith("best of "))
        ),
    ]


def _seconds_since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()


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
                    "checkpoints": [_row(c) for c in found.checkpoints.values()],
                    "operations": found.operations,
                    "withdrawn": found.withdrawn,
                    "damaged_records": list(found.damaged_records),
                }
            )
            return
        checkpoints = list(found.checkpoints.values())
        show_table(f"{run}: history", _COLUMNS, [_cells(c) for c in reversed(checkpoints)])
        for each in found.withdrawn:
            if each.occasion == "forgotten":
                what, by = in_words(each.judged), f" by {each.by}" if each.by else ""
                typer.echo(f"{each.time:%Y-%m-%d %H:%M:%S}  forgotten{by}: {what}")
        for path in found.damaged_records:
            typer.echo(f"cannot be read: {path}")


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
                    **_row(checkpoint),
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

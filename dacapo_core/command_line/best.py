"""``dacapo-store best``: list or set the best checkpoints of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dacapo_core.command_line.arguments import RunName
from dacapo_core.command_line.exit_codes import USAGE, exit_codes
from dacapo_core.command_line.output import show_json, show_table
from dacapo_core.command_line.store_option import Where

if TYPE_CHECKING:
    from dacapo_core.store.metadata_store import MetadataStore
    from dacapo_core.store.records.scores import BestRecord


def best(
    context: typer.Context,
    run: RunName,
    iteration: Annotated[int | None, typer.Argument(metavar="[ITERATION")] = None,
    dataset: Annotated[str | None, typer.Argument(metavar="DATASET")] = None,
    criterion: Annotated[str | None, typer.Argument(metavar="CRITERION]")] = None,
    derive: Annotated[bool, typer.Option(help="Derive all anew from the scores.")] = False,
) -> None:
    """List the best checkpoints of a run, or set the best of a dataset and criterion."""
    where: Where = context.obj
    with exit_codes():
        store = where.records()
        if iteration is not None:
            if dataset is None or criterion is None or derive:
                typer.echo("dacapo-store: give RUN, or RUN ITERATION DATASET CRITERION", err=True)
                raise typer.Exit(USAGE)
            store.store_best(run, iteration, dataset, criterion)
        elif derive:
            store.derive_best(run)
        _show_best(where, store, run)


def _show_best(where: Where, store: MetadataStore, run: str) -> None:
    from dacapo_core.store.records.score_names import in_words

    records = store.best_records(run)
    there = set(store.iterations(run))
    if where.json:
        rows = [
            {
                "dataset": dataset,
                "criterion": criterion,
                **record.model_dump(mode="json", exclude={"of"}),
                "exists": record.iteration in there and not record.replaced,
                "by_dacapo": record.by_dacapo,
            }
            for (dataset, criterion), record in records.items()
        ]
        show_json({"run": run, "best": rows})
        return
    show_table(
        f"{run}: best",
        ["best by", "iteration>", "score>", "parameters", "key"],
        [
            [
                in_words([f"{dataset}/{criterion}"]),
                f"{record.iteration}{_whether_there(record, there)}",
                "–" if record.score is None else f"{record.score:.4g}",
                ", ".join(f"{key}={value}" for key, value in (record.parameters or {}).items()),
                f"{dataset}/{criterion}",
            ]
            for (dataset, criterion), record in records.items()
        ],
    )
    for (dataset, criterion), record in records.items():
        words = in_words([f"{dataset}/{criterion}"])
        drop = f"`dacapo-store forget {run} --dataset {dataset} --criterion {criterion}` drops it"
        if record.iteration not in there:
            typer.echo(f"The checkpoint that is best by {words} is gone; {drop}.")
        elif record.by_dacapo:
            typer.echo(f"Only DaCapo's record says what is best by {words}; {drop}.")


def _whether_there(record: BestRecord, there: set[int]) -> str:
    if record.iteration not in there:
        return " (gone)"
    if record.replaced:
        return " (replaced)"
    return " (DaCapo's)" if record.by_dacapo else ""

"""``dacapo-store from-dacapo``: the configuration of one of DaCapo's runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dacapo_core.command_line.exit_codes import FAILED, USAGE, exit_codes
from dacapo_core.command_line.store_option import Where


def from_dacapo(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run, as DaCapo calls it.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A new YAML file. Default: print it.")
    ] = None,
    configs: Annotated[
        str | None,
        typer.Option(
            help="DaCapo's folder of configurations, or a .json file that mongoexport wrote of its "
            "runs. Default: configs/ in the store."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--as", help="A new run that starts from the latest checkpoint of RUN."),
    ] = None,
) -> None:
    """Write the run configuration of a DaCapo run as one of this project.

    What has no counterpart is a comment with what was there. With the store that DaCapo left,
    `python -m flows train FILE --store …` then continues the run.
    """
    where: Where = context.obj
    with exit_codes():
        from dacapo_core.experiments.from_dacapo import read_run, translate_run
        from dacapo_core.store.layout import check_run_name

        if name is not None and check_run_name(name) == run:
            typer.echo(f"dacapo-store: --as {name} is the run itself; name a new one", err=True)
            raise typer.Exit(USAGE)
        if file is not None and file.exists():
            typer.echo(f"dacapo-store: {file} exists; it is not overwritten", err=True)
            raise typer.Exit(FAILED)
        store = where.records(may_be_new=configs is not None)
        place = configs or f"{store.basedir.rstrip('/')}/configs"
        values = read_run(place, run, where.options() if configs is None else None)
        translated = translate_run(values, name)
        if file is None:
            typer.echo(translated.text(), nl=False)
        else:
            with file.open("x", encoding="utf-8") as opened:
                opened.write(translated.text())
            typer.echo(f"{file} is written")
        for missing in translated.missing():
            typer.echo(f"{missing} has no counterpart: fill it in", err=True)

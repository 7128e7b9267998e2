"""``python -m flows train my_run.yaml``: a flow in this process, from a configuration file.

On the Prefect server that ``PREFECT_API_URL`` names, else on a private one in ``.prefect``.
"""

from __future__ import annotations

import importlib
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from dacapo_core.store.errors import StoreError
from flows.private_prefect import AlreadyRunningError, private_prefect

FOLDER = Path(".prefect")
EXPECTED = (AlreadyRunningError, StoreError, ValueError, OSError)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

ConfigFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A RunConfig as YAML or TOML.", exists=True)
]
StoreUrl = Annotated[
    str | None, typer.Option("--store", help="Path or URL; default: what the settings name.")
]


@app.command()
def train(file: ConfigFile, store: StoreUrl = None) -> None:
    """Train the run in FILE, or continue it."""
    _run("train", file, store)


@app.command()
def finetune(file: ConfigFile, store: StoreUrl = None) -> None:
    """Fine-tune the run in FILE from its start_config, or continue it."""
    _run("finetune", file, store)


def _run(flow_name: str, file: Path, store: str | None) -> None:
    from dacapo_core.experiments.run_config import RunConfig

    try:
        config = RunConfig.from_file(file)
    except ValueError as error:
        raise SystemExit(f"{file}: {error}") from None
    prefect: AbstractContextManager[None] = (
        nullcontext() if os.environ.get("PREFECT_API_URL") else private_prefect(FOLDER.resolve())
    )
    try:
        with prefect:
            flow = getattr(importlib.import_module(f"flows.{flow_name}"), flow_name)
            print(f"\n{flow(config, store=store)}")
    except EXPECTED as error:
        # the flow run's log has the whole traceback
        raise SystemExit(f"{type(error).__name__}: {error}") from None


if __name__ == "__main__":
    app()

"""``python -m flows train my_run.yaml``: a flow in this process, from a configuration file.

Under torchrun, one of the processes that train it; only the first runs the flow.
On the Prefect server that ``PREFECT_API_URL`` names, else on a private one in ``.prefect``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from dacapo_core.training.launch import NOT_AGAIN, started_by_launcher
from flows.group_ranks import take_part_at_terminal
from flows.run_at_terminal import INTERRUPTED, run_at_terminal, run_flow

if TYPE_CHECKING:
    from dacapo_core.experiments.run_config import RunConfig

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
    _run("train", _read(file), store)


@app.command()
def finetune(file: ConfigFile, store: StoreUrl = None) -> None:
    """Fine-tune the run in FILE from its start_config, or continue it."""
    config = _read(file)
    if config.start_config is None:
        _refuse(
            f"{file}: no start_config: say where the run starts, or use `python -m flows train`"
        )
    _run("finetune", config, store)


def _read(file: Path) -> RunConfig:
    from dacapo_core.experiments.run_config import RunConfig

    try:
        return RunConfig.from_file(file)
    except ValueError as error:
        _refuse(f"{file}: {error}")


def _refuse(message: str) -> NoReturn:
    if not started_by_launcher():
        raise SystemExit(message)
    print(message, file=sys.stderr, flush=True)
    raise SystemExit(NOT_AGAIN)


def _run(flow: str, config: RunConfig, store: str | None) -> None:
    if started_by_launcher():
        told = {"flow": flow, **config.model_dump(mode="json")}
        take_part_at_terminal(told, lambda: _lead(flow, config, store))
    else:
        print(f"\n{run_at_terminal(flow, None, run=config, store=store)}")


def _lead(flow: str, config: RunConfig, store: str | None) -> None:
    """As rank 0 of the processes that torchrun started, on this machine and others.

    Stopped or cancelled, it ends well: torchrun would else start it again.
    """
    try:
        print(f"\n{run_flow(flow, None, run=config, store=store)}")
    except KeyboardInterrupt:
        print("\nStopped. The same command continues from the last checkpoint.")
    except SystemExit as ended:
        if ended.code != INTERRUPTED:
            raise


if __name__ == "__main__":
    app()

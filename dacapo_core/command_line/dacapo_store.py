"""``dacapo-store``: look into a store of checkpoints and put it in order.

Nothing heavy is imported before a command needs it: most commands start without torch.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dacapo_core.command_line.best import best
from dacapo_core.command_line.cp import cp
from dacapo_core.command_line.export import export
from dacapo_core.command_line.forget import forget
from dacapo_core.command_line.from_dacapo import from_dacapo
from dacapo_core.command_line.history import history
from dacapo_core.command_line.ls import ls
from dacapo_core.command_line.pin import pin, unpin
from dacapo_core.command_line.pins import pins
from dacapo_core.command_line.prune import prune
from dacapo_core.command_line.remove import remove
from dacapo_core.command_line.restore import restore
from dacapo_core.command_line.show import show
from dacapo_core.command_line.store_option import Where
from dacapo_core.command_line.sweep import sweep
from dacapo_core.command_line.verify import verify
from dacapo_core.command_line.why import why

EXIT_CODES = (
    "Exit codes: 0 done · 1 failed (store not reachable, not writable, a deletion failed) · "
    "2 wrong usage · 3 no such store, run, checkpoint or record · 4 damaged · 5 refused "
    "(protected, policy does not fit, unsafe). Of several runs, the highest."
)

app = typer.Typer(
    name="dacapo-store",
    help="Look into a store of checkpoints and put it in order.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _where(
    context: typer.Context,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            "-s",
            help="Path or URL (s3://…, gs://…) of the store. Default: DACAPO_RUNS_BASE_DIR.",
        ),
    ] = None,
    storage_options: Annotated[
        str | None,
        typer.Option(
            help="Options of the URL's file system, JSON. Default: DACAPO_STORAGE_OPTIONS."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    context.obj = Where(store, storage_options, json)


for command in (
    ls,
    show,
    pins,
    history,
    why,
    verify,
    best,
    forget,
    pin,
    unpin,
    remove,
    prune,
    restore,
    sweep,
    cp,
    export,
    from_dacapo,
):
    app.command()(command)


def main() -> None:
    """The entry point."""
    app(args=_options_first())


def _options_first() -> list[str]:
    """The arguments with ``--store``, ``--storage-options`` and ``--json`` moved to the front,
    so that they may also stand after the command."""
    import sys

    front: list[str] = []
    rest: list[str] = []
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        name = argument.partition("=")[0]
        if argument == "--":
            rest += [argument, *arguments]
        elif argument == "--json":
            front.append(argument)
        elif name in ("--store", "-s", "--storage-options"):
            front.append(argument)
            if "=" not in argument and (value := next(arguments, None)) is not None:
                front.append(value)
        else:
            rest.append(argument)
    return front + rest

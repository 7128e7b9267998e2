"""What several commands are given: a run, a checkpoint's iteration."""

from __future__ import annotations

from typing import Annotated

import typer

RunName = Annotated[str, typer.Argument(metavar="RUN", help="Name of the run.")]
Iteration = Annotated[int, typer.Argument(metavar="ITERATION", help="Iteration of the checkpoint.")]

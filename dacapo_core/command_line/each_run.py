"""Commands on several runs: which are meant, and one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from dacapo_core.command_line.exit_codes import FAILED, code_of, say_astray, say_error
from dacapo_core.command_line.store_option import Where
from dacapo_core.store.errors import StoreError

if TYPE_CHECKING:
    from dacapo_core.store.metadata_store import MetadataStore


class EachRun:
    """Does something run by run: an error of one is printed and does not stop the others.

    Attributes:
        errors: run → what is wrong, as it was printed.
        code: the highest exit code so far.
    """

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}
        self.code = 0

    @contextmanager
    def run(self, name: str) -> Iterator[None]:
        """What is done to one run."""
        try:
            yield
        except (OSError, ValueError, StoreError) as error:
            self.errors[name] = str(error)
            self.failed(code_of(error))
            say_error(error)

    def failed(self, code: int = FAILED) -> None:
        """Something of a run failed."""
        self.code = max(self.code, code)

    def exit(self) -> None:
        """Exit with the highest code, if any run failed."""
        if self.code:
            raise typer.Exit(self.code)


def choose(
    where: Where, store: MetadataStore, said: Sequence[str] | None, each: EachRun
) -> list[str]:
    """The runs that names and patterns mean, or all; the error of a name is printed, no end."""
    from dacapo_core.store.missing_store import why_no_runs
    from dacapo_core.store.run_listing import list_runs
    from dacapo_core.store.run_patterns import choose_runs

    if said is None:
        found, astray = list_runs(store.filesystem)
        say_astray(astray)
        if not found and not where.json:
            typer.echo(f"{why_no_runs(store.filesystem)}.")
        return found
    chosen: set[str] = set()
    for name in said:
        with each.run(name):
            chosen.update(choose_runs(store, [name]))
    return sorted(chosen)

"""What the errors of a command say, and the codes that it exits with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import typer

from dacapo_core.store import errors
from dacapo_core.store.errors import StoreError

FAILED, USAGE, MISSING, DAMAGED, REFUSED = 1, 2, 3, 4, 5


@contextmanager
def exit_codes() -> Iterator[None]:
    """Say an error in one line and exit with the code of its kind."""
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        say_error(f"{name}: {first['msg']}" if name else first["msg"])
        raise typer.Exit(USAGE) from None
    except (OSError, ValueError, StoreError) as error:
        say_error(error)
        raise typer.Exit(code_of(error)) from None


def code_of(error: Exception) -> int:
    """The exit code of an error's kind."""
    refused = (
        errors.ProtectedCheckpointError,
        errors.RetentionError,
        errors.LeaseHeldError,
        errors.UnsafeCheckpointError,
    )
    wrong = (errors.InvalidNameError, errors.InvalidPlaceError, errors.StorageOptionsError)
    missing = (errors.MissingStoreError, errors.MissingCheckpointError, errors.MissingRecordError)
    if isinstance(error, missing):
        return MISSING
    if isinstance(error, errors.DamagedCheckpointError | errors.DamagedRecordError):
        return DAMAGED
    if isinstance(error, refused):
        return REFUSED
    return USAGE if isinstance(error, wrong) else FAILED


def say_error(error: object) -> None:
    """One line on standard error."""
    typer.echo(f"dacapo-store: {error}", err=True)


def say_astray(astray: Mapping[str, str]) -> None:
    """What stands among the runs of a store and is none, on standard error."""
    for name, what in astray.items():
        say_error(f"run {name!r} is damaged and left out: it is {what}")

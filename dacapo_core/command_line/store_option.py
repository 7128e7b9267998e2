"""Which store a command works on, and what its errors exit with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.store.metadata_store import MetadataStore

FAILED, USAGE, MISSING, DAMAGED, REFUSED = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Where:
    """What was said before the command.

    Attributes:
        store: path or URL; None: the one that the settings name.
        json: for scripts, instead of tables.
    """

    store: str | None
    storage_options: str | None
    json: bool

    def _arguments(self) -> tuple[str, dict[str, Any]]:
        from dacapo_core.settings import get_settings

        settings = get_settings()
        options = settings.storage_options
        if self.storage_options is not None:
            try:
                options = json.loads(self.storage_options)
            except ValueError as error:
                raise typer.BadParameter(f"--storage-options is not JSON: {error}") from None
            if not isinstance(options, dict):
                raise typer.BadParameter("--storage-options is not a JSON object")
        return self.store or settings.runs_base_dir, options

    def options(self) -> dict[str, Any]:
        """Options of the store's file system."""
        return self._arguments()[1]

    def records(self, *, may_be_new: bool = False) -> MetadataStore:
        """The store without its weights; opens without torch.

        Args:
            may_be_new: also one that is not there yet, to be written to.

        Raises:
            MissingStoreError: there is none.
        """
        from dacapo_core.store.metadata_store import MetadataStore

        store = MetadataStore(*self._arguments())
        if not may_be_new:
            store.require_store()
        return store

    def weights(self) -> LocalWeightsStore:
        """The store with its weights.

        Raises:
            MissingStoreError: there is none.
        """
        from dacapo_core.store.local_weights_store import LocalWeightsStore

        store = LocalWeightsStore(*self._arguments())
        store.require_store()
        return store


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
    except (OSError, ValueError, *_store_error()) as error:
        say_error(error)
        raise typer.Exit(code_of(error)) from None


class EachRun:
    """Does something run by run: one that fails is said and does not stop the others.

    Attributes:
        errors: run → what is wrong, as it was said.
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
        except (OSError, ValueError, *_store_error()) as error:
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


def code_of(error: Exception) -> int:
    """The exit code of an error's kind."""
    from dacapo_core.store import errors

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


def _store_error() -> tuple[type[Exception]]:
    from dacapo_core.store.errors import StoreError

    return (StoreError,)

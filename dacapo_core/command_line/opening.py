"""Which store a command works on, and what its errors exit with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.store.records_store import RecordsStore

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

    def records(self) -> RecordsStore:
        """The store without its weights; opens without torch."""
        from dacapo_core.store.records_store import RecordsStore

        return RecordsStore(*self._arguments())

    def weights(self) -> LocalWeightsStore:
        """The store with its weights."""
        from dacapo_core.store.local_weights_store import LocalWeightsStore

        return LocalWeightsStore(*self._arguments())


@contextmanager
def exit_codes() -> Iterator[None]:
    """Say an error in one line and exit with the code of its kind."""
    from pydantic import ValidationError

    from dacapo_core.store import errors

    try:
        yield
    except (errors.MissingCheckpointError, errors.MissingRecordError) as error:
        _exit(error, MISSING)
    except (errors.DamagedCheckpointError, errors.DamagedRecordError) as error:
        _exit(error, DAMAGED)
    except (
        errors.ProtectedCheckpointError,
        errors.RetentionError,
        errors.LeaseHeldError,
        errors.UnsafeCheckpointError,
    ) as error:
        _exit(error, REFUSED)
    except (errors.InvalidNameError, errors.StorageOptionsError) as error:
        _exit(error, USAGE)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        _exit(f"{name}: {first['msg']}" if name else first["msg"], USAGE)
    except (errors.StoreError, OSError, ValueError) as error:
        _exit(error, FAILED)


def _exit(error: object, code: int) -> NoReturn:
    typer.echo(f"dacapo-store: {error}", err=True)
    raise typer.Exit(code)

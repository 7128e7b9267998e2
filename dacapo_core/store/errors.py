"""What can go wrong in a store. Every error is a StoreError and the builtin that fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class StoreError(Exception):
    """Base of all errors of a store."""


class InvalidNameError(StoreError, ValueError):
    """A run, dataset or criterion name, or an iteration, that the layout cannot hold."""


class InvalidValueError(StoreError, ValueError):
    """A score, a parameter or another value that no record can hold; nothing was written."""


class InvalidPlaceError(StoreError, ValueError):
    """The place given for a store is neither a path nor a URL."""


class UnknownFileSystemError(StoreError, ValueError):
    """A URL of a file system that is not known here; its kind may have to be installed."""


class StorageOptionsError(StoreError, ValueError):
    """Storage options that the file system does not know; found before any request."""


class MissingStoreError(StoreError, FileNotFoundError):
    """There is no store at the place given."""


class MissingCheckpointError(StoreError, FileNotFoundError):
    """No such run, or no such iteration of it."""


class MissingRecordError(StoreError, FileNotFoundError):
    """No such record: best, scores, configuration, pin."""


class DamagedRecordError(StoreError, ValueError):
    """A record that is not what was written."""


class UnsavableStateError(StoreError, TypeError):
    """A state that could not be loaded back safely; names the key."""


class DamagedCheckpointError(StoreError):
    """A checkpoint whose bytes are not those that were written.

    Attributes:
        run, iteration, path: which checkpoint.
        expected, found: what was written and what is there.
    """

    def __init__(
        self,
        message: str,
        *,
        run: str | None = None,
        iteration: int | None = None,
        path: str | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        super().__init__(message)
        self.run = run
        self.iteration = iteration
        self.path = path
        self.expected = expected
        self.found = found


class NotACheckpointError(DamagedCheckpointError):
    """A file that loads but does not hold the weights of a model and an optimizer."""


class NewerFormatError(StoreError):
    """A later version wrote the checkpoint. It is not known to be damaged, so nothing is pruned."""


class UnsafeCheckpointError(StoreError):
    """A checkpoint that asks for code to be run. It was not loaded, nothing was run.

    Attributes:
        globals: the names it asked for, ``module.name``.
    """

    def __init__(self, message: str, globals: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.globals = list(globals)


class WeightsDoNotFitError(StoreError, ValueError):
    """Weights that a model or an optimizer cannot take; neither was touched.

    Attributes:
        differences: each difference in names, shapes, types or groups, in words.
    """

    def __init__(self, message: str, differences: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.differences = list(differences)


class ProtectedCheckpointError(StoreError):
    """A checkpoint that something still points to; it stays unless forced."""


class NotAFileError(StoreError, OSError):
    """Where a file must be stands a link astray, a pipe, a folder, or a file that cannot be read.

    Attributes:
        what: which of these.
    """

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


class StoreUnreachableError(StoreError, OSError):
    """The store cannot be read: no such bucket, wrong credentials, no connection."""


class StoreNotWritableError(StoreError, OSError):
    """The store cannot be written: permission, read-only, a file where a folder must be."""


class StoreFullError(StoreNotWritableError):
    """No space left, or quota exceeded. Nothing stored before is touched."""


class RetentionError(StoreError, ValueError):
    """A policy that cannot be carried out on this run; nothing was pruned."""


class RestoreError(MissingCheckpointError):
    """A checkpoint that cannot be brought back; says when and why it was deleted."""


class SweepError(StoreError):
    """Some runs could not be swept; the others were.

    Attributes:
        swept: run → what was done.
        failed: run → why it could not be swept.
    """

    def __init__(self, swept: Mapping[str, Any], failed: Mapping[str, Exception]) -> None:
        said = "; ".join(f"{run}: {error}" for run, error in failed.items())
        super().__init__(f"{len(failed)} runs could not be swept, {len(swept)} were: {said}")
        self.swept = swept
        self.failed = failed


class LeaseHeldError(StoreError):
    """Another process trains this run."""


class LeaseLostError(StoreError):
    """The lease of this process was taken over by another; it must not store any more."""

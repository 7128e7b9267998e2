"""No two datasets or criteria of a run share a file without a word.

``/`` in a dataset's name becomes ``_`` in its files, some file systems take ``Val`` for ``val`` or
one spelling of an accent for another, and DaCapo keeps two more copies of each best under names
made of both. Where a name has two readings, how it was spelled first is on record
(``records/datasets``); a name that leads to another's file is refused.
"""

from __future__ import annotations

import contextlib
import json
import unicodedata

from dacapo_core.store import layout
from dacapo_core.store.errors import InvalidNameError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.best_lookup import list_judged
from dacapo_core.store.records.strict_json import parsed_json


def check_dataset(filesystem: StoreFilesystem, run: str, name: str) -> None:
    """
    Raises:
        InvalidNameError: its files are those of another dataset of the run; says which.
    """
    folder = layout.check_dataset_name(name)
    first = spelled(filesystem, run, folder)
    if first is not None and first != name:
        raise _shared(run, "dataset", name, first)
    for parent in (run, layout.DATASET_NAMES.of(run)):
        entry = folder if parent == run else f"{folder}.json"
        other = _folded_onto(filesystem, parent, entry)
        if other is not None:
            raise _shared(run, "dataset", name, other.removesuffix(".json"))


def check_judged(filesystem: StoreFilesystem, run: str, name: str, criterion: str) -> None:
    """As `check_dataset`, and for the best by a criterion, whose copies for DaCapo count too.

    Raises:
        InvalidNameError: a file of this best is one of another's; says whose.
    """
    check_dataset(filesystem, run, name)
    folder, criterion = layout.check_dataset_name(name), layout.check_criterion_name(criterion)
    if filesystem.is_file(layout.best_path(run, folder, criterion)):
        other = _folded_onto(filesystem, f"{run}/{folder}", f"{criterion}.json")
        if other is not None:
            raise _shared(run, "criterion", criterion, other.removesuffix(".json"))
        return
    mine = set(_copies(folder, criterion))
    for dataset, judged_by in sorted(list_judged(filesystem, run)):
        if (dataset, judged_by) != (folder, criterion) and mine & set(_copies(dataset, judged_by)):
            raise InvalidNameError(
                f"run {run!r} has a best of dataset {dataset!r} and criterion {judged_by!r}, and "
                f"what DaCapo reads of it is in the same file as of dataset {name!r} and criterion "
                f"{criterion!r}. Rename the dataset or the criterion, or forget the other: "
                f"dacapo-store forget {run} --dataset {dataset}"
            )


def claim_dataset(filesystem: StoreFilesystem, run: str, name: str) -> None:
    """Put on record how a name is spelled that could be read in two ways; the first one holds.

    Raises:
        InvalidNameError: another was faster.
    """
    folder = layout.check_dataset_name(name)
    if "_" not in folder or spelled(filesystem, run, folder) == name:
        return
    with contextlib.suppress(FileExistsError):
        content = json.dumps({"name": name}).encode()
        filesystem.create_bytes(layout.DATASET_NAMES.path(run, folder), content)
    check_dataset(filesystem, run, name)


def spelled(filesystem: StoreFilesystem, run: str, folder: str) -> str | None:
    """The dataset's own name, of which a folder is; None where that is not on record."""
    if "_" not in folder:
        return None
    path = layout.DATASET_NAMES.path(run, folder)
    for content in filesystem.read_many([path]).values():
        with contextlib.suppress(ValueError, LookupError, TypeError):
            return str(parsed_json(content)["name"])
    return None


def _copies(dataset: str, criterion: str) -> tuple[str, str, str]:
    """Where DaCapo writes and reads a best, within the run's checkpoints."""
    return f"{dataset}/{criterion}", f"{criterion}/{dataset}", f"{criterion}/ds_{dataset}"


def _folded_onto(filesystem: StoreFilesystem, parent: str, entry: str) -> str | None:
    """The other entry that a file system takes this name for; None: it is its own, or new."""
    if not filesystem.is_local or not filesystem.exists(f"{parent}/{entry}"):
        return None
    names = filesystem.names(parent)
    if entry in names:
        return None
    return next((name for name in names if _plain(name) == _plain(entry)), entry)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _shared(run: str, kind: str, name: str, other: str) -> InvalidNameError:
    return InvalidNameError(
        f"{kind} {name!r} of run {run!r} would share its files with {kind} {other!r}, which was "
        f"first: use that name if they are the same, else rename one"
    )

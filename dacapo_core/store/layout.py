"""Where everything is in a store: names and paths, relative to its basedir. Pure.

The layout is DaCapo's (``dacapo.store.local_weights_store``); what is ours is under
``records/`` and ``checkpoints/.partial/``. Paths are joined with ``/`` on every system.
"""

from __future__ import annotations

import operator
import re
from typing import NamedTuple, SupportsIndex

from dacapo_core.store.errors import InvalidNameError

_CANONICAL_DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}")
_RESERVED_RUNS = {"configs", "stats"}
_RESERVED_DATASETS = {"checkpoints", "records", "iterations"}
_RESERVED_CRITERIA = {"iterations"}
_LONGEST_NAME = 200
_FIRST_TOO_LARGE = 10**18
_PUBLISHED_START = re.compile(r"setup[0-9]+(\.[0-9]+)?")


def check_run_name(name: str) -> str:
    """The run name itself.

    Raises:
        InvalidNameError: it could leave its folder or collide with the layout.
    """
    _check_name(name, "run")
    if name in _RESERVED_RUNS:
        raise InvalidNameError(f"run name {name!r} is a folder of DaCapo's own; choose another")
    return name


def is_run_name(name: str) -> bool:
    """Whether a folder of this name may be a run."""
    try:
        check_run_name(name)
    except InvalidNameError:
        return False
    return True


def check_dataset_name(name: str) -> str:
    """The dataset's folder name: ``/`` becomes ``_``, as DaCapo does.

    Raises:
        InvalidNameError: it could leave its folder or collide with the layout.
    """
    if isinstance(name, str) and ".." in name.split("/"):
        raise InvalidNameError(f"dataset name {name!r} contains '..'; choose another")
    folder = name.replace("/", "_") if isinstance(name, str) else name
    _check_name(folder, "dataset")
    if folder in _RESERVED_DATASETS:
        raise InvalidNameError(
            f"dataset name {name!r} is a folder of the store's own; choose another"
        )
    return folder


def check_criterion_name(name: str) -> str:
    """The criterion name itself.

    Raises:
        InvalidNameError: it could leave its folder or collide with the layout.
    """
    _check_name(name, "criterion")
    if name in _RESERVED_CRITERIA:
        raise InvalidNameError(
            f"criterion name {name!r} is a folder of the store's own; choose another"
        )
    return name


def check_iteration(iteration: SupportsIndex) -> int:
    """The iteration as an int; any integer type, no bool.

    Raises:
        InvalidNameError: not an integer, negative, or of more than 18 digits.
    """
    if isinstance(iteration, bool):
        raise InvalidNameError(f"iteration must be an integer >= 0, not {iteration!r}")
    try:
        number = operator.index(iteration)
    except TypeError:
        raise InvalidNameError(f"iteration must be an integer >= 0, not {iteration!r}") from None
    if not 0 <= number < _FIRST_TOO_LARGE:
        # Python writes out no number of thousands of digits
        said = number if number.bit_length() < 64 else f"one of {number.bit_length()} bits"
        raise InvalidNameError(f"iteration must be an integer >= 0 and below 10**18, not {said}")
    return number


def parse_iteration(name: str) -> int | None:
    """The iteration that a file name in ``iterations/`` stands for; None for any other file.

    Only canonical decimals of an iteration that can be stored count: not ``007``, ``1_000``,
    ``5.tmp`` or ``٣``.
    """
    return int(name) if _CANONICAL_DECIMAL.fullmatch(name) else None


def is_published_start(run: str) -> bool:
    """Whether a run is one of COSEM's, fetched into the store as a start: ``setup04``, …"""
    return _PUBLISHED_START.fullmatch(run) is not None


def parse_numbered_record(name: str) -> tuple[int, str | None] | None:
    """``7.json`` → (7, None), ``7.child.json`` → (7, "child"); None for any other file name."""
    stem, dot, end = name.rpartition(".")
    number, dotted, rest = stem.partition(".")
    iteration = parse_iteration(number)
    if end != "json" or not dot or iteration is None:
        return None
    return iteration, rest if dotted else None


def _check_name(name: str, kind: str) -> None:
    if not isinstance(name, str):
        raise InvalidNameError(f"{kind} name must be a string, not {name!r}")
    if not name or name != name.strip():
        raise InvalidNameError(f"{kind} name {name!r} is empty or begins or ends with a space")
    if name.startswith("."):
        raise InvalidNameError(f"{kind} name {name!r} begins with a dot; choose another")
    if "/" in name or "\\" in name:
        raise InvalidNameError(f"{kind} name {name!r} contains a slash; choose another")
    if not name.isprintable():
        raise InvalidNameError(f"{kind} name {name!r} contains a character that cannot be shown")
    if name.endswith((".json", ".zarr")):
        raise InvalidNameError(f"{kind} name {name!r} ends like a file of the store; drop the end")
    if len(name.encode()) > _LONGEST_NAME:
        raise InvalidNameError(
            f"{kind} name {name[:40]!r}… is longer than {_LONGEST_NAME} bytes; shorten it"
        )


# checkpoints


def checkpoints_folder(run: str) -> str:
    return f"{run}/checkpoints"


def iterations_folder(run: str) -> str:
    return f"{run}/checkpoints/iterations"


def checkpoint_path(run: str, iteration: int) -> str:
    return f"{run}/checkpoints/iterations/{iteration}"


def partial_folder(run: str) -> str:
    """Where local files are while they are written; swept when their writer is gone."""
    return f"{run}/checkpoints/.partial"


def probe_path(run: str) -> str:
    """Written and deleted to see whether the store can be written."""
    return f"{run}/checkpoints/.partial/probe"


# best records


def best_path(run: str, dataset: str, criterion: str) -> str:
    """Where DaCapo's documentation puts it, and where ours is."""
    return f"{run}/{dataset}/{criterion}.json"


def dacapo_best_path(run: str, dataset: str, criterion: str) -> str:
    """Where DaCapo's ``store_best`` writes it."""
    return f"{run}/checkpoints/{dataset}/{criterion}.json"


def dacapo_best_link(run: str, dataset: str, criterion: str) -> str:
    """DaCapo's symlink to the best checkpoint, a key of its ``Start``."""
    return f"{run}/checkpoints/{dataset}/{criterion}"


def dacapo_best_read_path(run: str, dataset: str, criterion: str) -> str:
    """Where DaCapo's ``retrieve_best`` looks for it."""
    return f"{run}/checkpoints/{criterion}/{dataset}.json"


# records


class RecordFolder(NamedTuple):
    """A folder of a run's records with one JSON object for each key: an iteration, an operation."""

    name: str

    def of(self, run: str) -> str:
        return f"{records_folder(run)}/{self.name}"

    def path(self, run: str, key: int | str) -> str:
        return f"{self.of(run)}/{key}.json"


CHECKPOINT_RECORDS = RecordFolder("checkpoints")
"""By iteration: size, digest, when and by whom it was stored."""
TRAINING = RecordFolder("training")
"""By iteration: statistics of the iterations up to this one since the record before."""
PENDING = RecordFolder("pending")
"""By iteration: a requested validation."""
MARKED = RecordFolder("marked")
"""By iteration: pruned, and within the grace period."""
DAMAGED = RecordFolder("damaged")
"""By iteration: what a verification found wrong with a checkpoint."""
VERIFIED = RecordFolder("verified")
"""By iteration: when a verification found a checkpoint whole, and which file it was."""
PINS = RecordFolder("pins")
"""By iteration, set by hand; by ``<iteration>.<child>``, of a run that starts from it."""
PRUNED = RecordFolder("pruned")
"""By operation: what was pruned, marked, restored, reclaimed or removed."""
PRUNING = RecordFolder("pruning")
"""By operation: what a prune that is under way is about to delete; gone when it is done."""
WITHDRAWN = RecordFolder("withdrawn")
"""By operation: what was said of checkpoints and holds no more."""
DATASET_NAMES = RecordFolder("datasets")
"""By dataset folder: how the dataset is spelled, where that could be read in two ways."""
LEASE = RecordFolder("lease")
"""By epoch: who trains the run."""

RUN_CONFIG, START_REPORT, INTENSITIES, OVERVIEW = "run", "start", "intensities", "overview"


def records_folder(run: str) -> str:
    return f"{run}/records"


def run_record_path(run: str, name: str) -> str:
    """The record of a run of which there is one: its configuration, its loading report, …"""
    return f"{records_folder(run)}/{name}.json"


def pin_path(run: str, iteration: int, child: str | None = None) -> str:
    return PINS.path(run, iteration if child is None else f"{iteration}.{child}")


def scores_folder(run: str, iteration: int | None = None) -> str:
    """The scores of a run, or of one of its iterations."""
    folder = f"{records_folder(run)}/scores"
    return folder if iteration is None else f"{folder}/{iteration}"


def scores_path(run: str, iteration: int, dataset: str) -> str:
    return f"{scores_folder(run, iteration)}/{dataset}.json"


def pictures_folder(run: str) -> str:
    return f"{records_folder(run)}/pictures"


def picture_path(run: str, iteration: int, dataset: str) -> str:
    """A slice of a validation volume: raw data, truth and prediction."""
    return f"{pictures_folder(run)}/{iteration}/{dataset}.png"

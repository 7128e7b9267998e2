"""The best checkpoint per dataset and criterion: written where DaCapo and we look for it.

Ours is ``<run>/<dataset>/<criterion>.json``. DaCapo's ``store_best`` writes
``checkpoints/<dataset>/<criterion>.json`` and a symlink beside it; its ``retrieve_best`` reads
``checkpoints/<criterion>/<dataset>.json`` (``ds_<dataset>.json`` for a Dataset object).
On local stores we write DaCapo's records first, then ours, then the link, which some file systems
cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from dacapo_core.store import layout
from dacapo_core.store.errors import (
    DamagedRecordError,
    InvalidNameError,
    MissingCheckpointError,
    MissingRecordError,
)
from dacapo_core.store.files.filesystem import StoreFilesystem
from dacapo_core.store.pruning.prune_intents import require_checkpoint, settle
from dacapo_core.store.records.iteration_notes import unmark
from dacapo_core.store.records.scores import BestRecord, Judged
from dacapo_core.store.records.verification_notes import require_no_damage


def write_best(
    filesystem: StoreFilesystem, run: str, dataset: str, criterion: str, record: BestRecord
) -> None:
    """Move the best of a dataset and criterion to a checkpoint that exists and may be whole.

    Raises:
        InvalidNameError: a name that the layout cannot hold, or the pair (criterion, dataset)
            has a best of its own, whose mirror this one's would overwrite.
        MissingCheckpointError: no such checkpoint, or a pruner was faster; the best is unmoved.
        DamagedCheckpointError: the checkpoint is on record as damaged; the best is unmoved.
    """
    layout.check_run_name(run)
    dataset = layout.check_dataset_name(dataset)
    layout.check_criterion_name(criterion)
    iteration = layout.check_iteration(record.iteration)
    file = require_checkpoint(filesystem, run, iteration)
    require_no_damage(filesystem, run, iteration, file)
    if dataset != criterion and filesystem.exists(layout.best_path(run, criterion, dataset)):
        raise InvalidNameError(
            f"run {run!r} has a best of dataset {criterion!r} and criterion {dataset!r}; DaCapo "
            "keeps both in the same file. Rename the dataset or the criterion"
        )
    before = _contents(filesystem, run, dataset, criterion)
    _write_all(filesystem, run, dataset, criterion, _dumped(record))
    unmark(filesystem, run, iteration)
    try:
        settle(filesystem, run, iteration)
    except MissingCheckpointError:
        _put_back(filesystem, run, dataset, criterion, before)
        raise
    _link(filesystem, run, dataset, criterion, iteration)


def read_best(filesystem: StoreFilesystem, run: str, dataset: str, criterion: str) -> BestRecord:
    """The best of a dataset and criterion, wherever it is recorded.

    Where DaCapo has moved its own record to a checkpoint that exists, that one holds.

    Raises:
        MissingRecordError: there is none.
        MissingCheckpointError: there is one, and its checkpoint is gone.
        DamagedRecordError: it cannot be read.
    """
    layout.check_run_name(run)
    dataset = layout.check_dataset_name(dataset)
    layout.check_criterion_name(criterion)
    ours, theirs, swapped = (
        layout.best_path(run, dataset, criterion),
        layout.dacapo_best_path(run, dataset, criterion),
        layout.dacapo_best_read_path(run, dataset, criterion),
    )
    contents = filesystem.read_many([ours, theirs, swapped])
    record = _chosen(
        filesystem, run, [_parsed(filesystem, path, contents) for path in (ours, theirs, swapped)]
    )
    if record is None:
        raise MissingRecordError(
            f"run {run!r} has no best of dataset {dataset!r} and criterion {criterion!r} in "
            f"{filesystem.basedir}; `dacapo-store best {run}` lists those it has"
        )
    if not filesystem.is_file(layout.checkpoint_path(run, record.iteration)):
        raise MissingCheckpointError(
            f"the best of run {run!r}, dataset {dataset!r} and criterion {criterion!r} is "
            f"iteration {record.iteration}, whose checkpoint is gone from {filesystem.basedir}; "
            "derive the best anew from the scores or store another"
        )
    return record


def read_all_best(
    filesystem: StoreFilesystem, run: str, iterations: Iterable[int] | None = None
) -> dict[Judged, BestRecord]:
    """Every best record of a run; dangling ones too.

    Args:
        iterations: those that exist, where the caller has listed them.

    Raises:
        DamagedRecordError: one cannot be read.
    """
    found, damaged = read_best_records(filesystem, run, iterations)
    for error in damaged.values():
        raise error
    return found


def read_best_records(
    filesystem: StoreFilesystem, run: str, iterations: Iterable[int] | None = None
) -> tuple[dict[Judged, BestRecord], dict[str, DamagedRecordError]]:
    """Every best record of a run that can be read, and path → what is wrong with the others."""
    ours, theirs = _listed(filesystem, run)
    # what mirrors ours is no record of DaCapo's
    mirrors = {(c, d) for d, c in ours} | {(c, f"ds_{d}") for d, c in ours}
    pairs = sorted(ours | {pair for pair in theirs if pair in ours or pair not in mirrors})
    paths = [layout.best_path(run, *pair) for pair in pairs if pair in ours]
    paths += [layout.dacapo_best_path(run, *pair) for pair in pairs if pair in theirs]
    contents = filesystem.read_many(paths)
    there = None if iterations is None else set(iterations)
    found = {}
    damaged: dict[str, DamagedRecordError] = {}
    for dataset, criterion in pairs:
        choices: list[BestRecord | None] = []
        for path in (
            layout.best_path(run, dataset, criterion),
            layout.dacapo_best_path(run, dataset, criterion),
        ):
            try:
                choices.append(_parsed(filesystem, path, contents))
            except DamagedRecordError as error:
                damaged[path] = error
                choices.append(None)
        record = _chosen(filesystem, run, [*choices, None], there)
        if record is not None:
            found[dataset, criterion] = record
    return found, damaged


def delete_best(filesystem: StoreFilesystem, run: str, pairs: Iterable[Judged]) -> None:
    """Remove best records and their mirrors, ours first; harmless where there are none."""
    for dataset, criterion in pairs:
        for path in (
            layout.best_path(run, dataset, criterion),
            *_mirrors(run, dataset, criterion),
            layout.dacapo_best_link(run, dataset, criterion),
        ):
            if path == layout.dacapo_best_link(run, dataset, criterion) and not filesystem.is_local:
                continue
            filesystem.delete_all([path])


def _chosen(
    filesystem: StoreFilesystem,
    run: str,
    records: list[BestRecord | None],
    iterations: set[int] | None = None,
) -> BestRecord | None:
    """Of ours, DaCapo's and the swapped one, the one that holds."""
    ours, theirs, swapped = records
    if ours is None:
        return theirs or swapped
    if theirs is None or theirs.iteration == ours.iteration:
        return ours
    if iterations is not None:
        moved = theirs.iteration in iterations
    else:
        moved = filesystem.is_file(layout.checkpoint_path(run, theirs.iteration))
    return theirs if moved else ours


def _listed(filesystem: StoreFilesystem, run: str) -> tuple[set[Judged], set[Judged]]:
    ours: set[Judged] = set()
    theirs: set[Judged] = set()
    for parent, found, own in (
        (run, ours, {"checkpoints", "records"}),
        (layout.checkpoints_folder(run), theirs, {"iterations"}),
    ):
        for folder in filesystem.list_folders(parent):
            if folder in own or folder.startswith(".") or folder.endswith(".zarr"):
                continue
            for name in filesystem.file_names(f"{parent}/{folder}"):
                if name.endswith(".json") and not name.startswith("."):
                    found.add((folder, name.removesuffix(".json")))
    return ours, theirs


def _mirrors(run: str, dataset: str, criterion: str) -> list[str]:
    return [
        layout.dacapo_best_read_path(run, dataset, criterion),
        layout.dacapo_best_read_path(run, f"ds_{dataset}", criterion),
        layout.dacapo_best_path(run, dataset, criterion),
    ]


def _write_all(
    filesystem: StoreFilesystem,
    run: str,
    dataset: str,
    criterion: str,
    content: bytes,
) -> None:
    if filesystem.is_local:
        for path in _mirrors(run, dataset, criterion):
            filesystem.write_bytes(path, content)
    elif filesystem.exists(layout.dacapo_best_path(run, dataset, criterion)):
        # copied from a local store: left as it is, it would win over ours
        filesystem.write_bytes(layout.dacapo_best_path(run, dataset, criterion), content)
    filesystem.write_bytes(layout.best_path(run, dataset, criterion), content)


def _contents(
    filesystem: StoreFilesystem, run: str, dataset: str, criterion: str
) -> Mapping[str, bytes]:
    paths = [layout.best_path(run, dataset, criterion), *_mirrors(run, dataset, criterion)]
    return filesystem.read_many(paths)


def _put_back(
    filesystem: StoreFilesystem,
    run: str,
    dataset: str,
    criterion: str,
    before: Mapping[str, bytes],
) -> None:
    delete_best(filesystem, run, [(dataset, criterion)])
    for path, content in before.items():
        filesystem.write_bytes(path, content)
    previous = before.get(layout.best_path(run, dataset, criterion))
    if previous is not None:
        iteration = BestRecord.model_validate_json(previous).iteration
        _link(filesystem, run, dataset, criterion, iteration)


def _link(
    filesystem: StoreFilesystem, run: str, dataset: str, criterion: str, iteration: int
) -> None:
    if filesystem.is_local:
        filesystem.replace_link(
            layout.dacapo_best_link(run, dataset, criterion), layout.checkpoint_path(run, iteration)
        )


def _parsed(
    filesystem: StoreFilesystem, path: str, contents: Mapping[str, bytes]
) -> BestRecord | None:
    content = contents.get(path)
    if content is None:
        return None
    try:
        return BestRecord.model_validate_json(content)
    except ValidationError as error:
        raise DamagedRecordError(
            f"{filesystem.url(path)} is not a best record: {_first(error)}; delete it and derive "
            "the best anew from the scores, or store another best"
        ) from None


def _first(error: ValidationError) -> str:
    details: Any = error.errors()[0]
    return str(details["msg"])


def _dumped(record: BestRecord) -> bytes:
    return record.model_dump_json().encode()

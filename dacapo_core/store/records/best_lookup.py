"""Which checkpoint is the best, wherever that is recorded: ours, DaCapo's, or its swapped place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from dacapo_core.store import layout
from dacapo_core.store.errors import (
    DamagedRecordError,
    MissingCheckpointError,
    MissingRecordError,
)
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.plan import StoredCheckpoint
from dacapo_core.store.records.present_checkpoints import are_of_present, seen_as
from dacapo_core.store.records.scores import BestRecord, Judged


def read_best(filesystem: StoreFilesystem, run: str, dataset: str, criterion: str) -> BestRecord:
    """The best of a dataset and criterion, wherever it is recorded.

    Where DaCapo has moved its own record to a checkpoint that exists, that one holds.

    Raises:
        MissingRecordError: there is none.
        MissingCheckpointError: there is one, and its checkpoint is gone, or was replaced.
        DamagedRecordError: it cannot be read.
    """
    layout.check_run_name(run)
    dataset = layout.check_dataset_name(dataset)
    layout.check_criterion_name(criterion)
    paths = [
        layout.best_path(run, dataset, criterion),
        layout.dacapo_best_path(run, dataset, criterion),
        layout.dacapo_best_read_path(run, dataset, criterion),
    ]
    contents = filesystem.read_many(paths)
    choices = [_parsed(filesystem, path, contents) for path in paths]
    there = _looked_up(filesystem, run, choices)
    record = _chosen(_marked(filesystem, run, there, choices), there)
    if record is None:
        raise MissingRecordError(
            f"run {run!r} has no best of dataset {dataset!r} and criterion {criterion!r} in "
            f"{filesystem.basedir}; `dacapo-store best {run}` lists those it has"
        )
    gone = record.iteration not in there
    if gone or record.replaced:
        became = (
            f"whose checkpoint is gone from {filesystem.basedir}"
            if gone
            else "whose checkpoint was replaced: it was stored again since, and has no score yet"
        )
        way_out = f"--dataset {dataset} --criterion {criterion}"
        raise MissingCheckpointError(
            f"the best of run {run!r}, dataset {dataset!r} and criterion {criterion!r} is "
            f"iteration {record.iteration}, {became}; "
            f"`dacapo-store best {run} --derive` moves it to what the scores say, "
            f"`dacapo-store forget {run} {way_out}` drops it"
        )
    return record


def read_all_best(
    filesystem: StoreFilesystem, run: str, there: Mapping[int, StoredCheckpoint] | None = None
) -> dict[Judged, BestRecord]:
    """Every best record of a run; also of checkpoints that are gone or were replaced.

    Args:
        there: the run's checkpoints, where the caller has listed them.

    Raises:
        DamagedRecordError: one cannot be read.
    """
    found, damaged = read_best_records(filesystem, run, there)
    for error in damaged.values():
        raise error
    return found


def read_best_records(
    filesystem: StoreFilesystem, run: str, there: Mapping[int, StoredCheckpoint] | None = None
) -> tuple[dict[Judged, BestRecord], dict[str, DamagedRecordError]]:
    """Every best record of a run that can be read, and path → what is wrong with the others."""
    ours, theirs = _listed(filesystem, run)
    # what mirrors ours is no record of DaCapo's
    mirrors = {(c, d) for d, c in ours} | {(c, f"ds_{d}") for d, c in ours}
    pairs = sorted(ours | {pair for pair in theirs if pair in ours or pair not in mirrors})
    paths = [layout.best_path(run, *pair) for pair in pairs if pair in ours]
    paths += [layout.dacapo_best_path(run, *pair) for pair in pairs if pair in theirs]
    contents = filesystem.read_many(paths)
    damaged: dict[str, DamagedRecordError] = {}
    choices: list[BestRecord | None] = []
    for dataset, criterion in pairs:
        for path in (
            layout.best_path(run, dataset, criterion),
            layout.dacapo_best_path(run, dataset, criterion),
        ):
            try:
                choices.append(_parsed(filesystem, path, contents))
            except DamagedRecordError as error:
                damaged[path] = error
                choices.append(None)
    if there is None:
        there = _looked_up(filesystem, run, choices)
    marked = iter(_marked(filesystem, run, there, choices))
    chosen = {judged: _chosen([next(marked), next(marked)], there) for judged in pairs}
    return {judged: best for judged, best in chosen.items() if best is not None}, damaged


def _chosen(
    choices: list[BestRecord | None], there: Mapping[int, StoredCheckpoint]
) -> BestRecord | None:
    """Of ours and those in DaCapo's places, the one that holds.

    What we wrote there mirrors ours, and says nothing without it.
    """
    ours, *mirrors = choices
    dacapos = [each if each is not None and each.by_dacapo else None for each in mirrors]
    if ours is None:
        return next((each for each in dacapos if each is not None), None)
    theirs = dacapos[0]
    if theirs is None:
        return ours
    moved = theirs.iteration != ours.iteration or ours.replaced
    return theirs if moved and theirs.iteration in there and not theirs.replaced else ours


def _marked(
    filesystem: StoreFilesystem,
    run: str,
    there: Mapping[int, StoredCheckpoint],
    records: Sequence[BestRecord | None],
) -> list[BestRecord | None]:
    """The records, with those marked that are about a checkpoint that was replaced."""
    given = [record for record in records if record is not None]
    hold = iter(
        are_of_present(filesystem, run, there, [(each.iteration, each.of) for each in given])
    )
    return [
        record if record is None or next(hold) else record.model_copy(update={"replaced": True})
        for record in records
    ]


def _looked_up(
    filesystem: StoreFilesystem, run: str, records: Sequence[BestRecord | None]
) -> dict[int, StoredCheckpoint]:
    """Those of the checkpoints that the records name that are there."""
    found = {}
    for iteration in {record.iteration for record in records if record is not None}:
        with suppress(FileNotFoundError):
            file = filesystem.file_info(layout.checkpoint_path(run, iteration))
            found[iteration] = seen_as(iteration, file)
    return found


def list_judged(filesystem: StoreFilesystem, run: str) -> set[Judged]:
    """What has a best record of ours, or only what is left of what we wrote for DaCapo."""
    ours, theirs = _listed(filesystem, run)
    # <criterion>/ds_<dataset> is never DaCapo's own
    left = {(name.removeprefix("ds_"), c) for c, name in theirs if name.startswith("ds_")}
    return ours | left


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


def _parsed(
    filesystem: StoreFilesystem, path: str, contents: Mapping[str, bytes]
) -> BestRecord | None:
    content = contents.get(path)
    if content is None:
        return None
    try:
        return BestRecord.model_validate_json(content)
    except ValidationError as error:
        details: Any = error.errors()[0]
        raise DamagedRecordError(
            f"{filesystem.url(path)} is not a best record: {details['msg']}; `dacapo-store "
            "forget` drops it, and `dacapo-store best` stores another"
        ) from None

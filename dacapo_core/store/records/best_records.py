"""The best checkpoint per dataset and criterion: written where DaCapo and we look for it.

Ours is ``<run>/<dataset>/<criterion>.json``. DaCapo's ``store_best`` writes
``checkpoints/<dataset>/<criterion>.json`` and a symlink beside it; its ``retrieve_best`` reads
``checkpoints/<criterion>/<dataset>.json`` (``ds_<dataset>.json`` for a Dataset object).
On local stores we write DaCapo's records first, then ours, then the link, which some file systems
cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dacapo_core.store import layout
from dacapo_core.store.errors import InvalidNameError, MissingCheckpointError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.prune_intents import require_checkpoint, settle
from dacapo_core.store.records.checkpoint_flags import unmark
from dacapo_core.store.records.checkpoint_identity import CheckpointIdentity
from dacapo_core.store.records.present_checkpoints import identify
from dacapo_core.store.records.scores import BestRecord, Judged
from dacapo_core.store.records.verification_records import require_no_damage


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
    of = record.of or identify(filesystem, run, iteration, file)
    before = _contents(filesystem, run, dataset, criterion)
    _write_all(filesystem, run, dataset, criterion, _dumped(record.model_copy(update={"of": of})))
    unmark(filesystem, run, iteration)
    try:
        settle(filesystem, run, iteration)
    except MissingCheckpointError:
        _put_back(filesystem, run, dataset, criterion, before)
        raise
    _link(filesystem, run, dataset, criterion, iteration)


def stamp_best(
    filesystem: StoreFilesystem,
    run: str,
    best: Mapping[Judged, BestRecord],
    of: CheckpointIdentity,
) -> None:
    """Say of which file best records are that named an iteration alone; DaCapo's become ours."""
    for (dataset, criterion), record in best.items():
        stamped = _dumped(record.model_copy(update={"of": of}))
        _write_all(filesystem, run, dataset, criterion, stamped)


def delete_best(filesystem: StoreFilesystem, run: str, pairs: Iterable[Judged]) -> None:
    """Remove best records and their mirrors, ours first; harmless where there are none.

    Last goes the mirror that is never DaCapo's own: while it is there, it is known what is left.
    """
    for dataset, criterion in pairs:
        swapped, unmistakable, theirs = _mirrors(run, dataset, criterion)
        link = [layout.dacapo_best_link(run, dataset, criterion)] if filesystem.is_local else []
        ours = layout.best_path(run, dataset, criterion)
        for path in (ours, *link, theirs, swapped, unmistakable):
            filesystem.delete_all([path])


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


def _dumped(record: BestRecord) -> bytes:
    return record.model_dump_json().encode()

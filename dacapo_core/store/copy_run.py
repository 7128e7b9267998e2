"""Copying a run, with all that is known of it, from one store to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from dacapo_core.store import layout
from dacapo_core.store.checkpoint_files import verified_copy, verify_checkpoint
from dacapo_core.store.errors import (
    DamagedCheckpointError,
    MissingCheckpointError,
    NotAFileError,
    StoreError,
)
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.filesystems.translated_errors import reading
from dacapo_core.store.filesystems.unbuffered_files import write_all
from dacapo_core.store.metadata_store import MetadataStore
from dacapo_core.store.pruning.run_inventory import list_checkpoints
from dacapo_core.store.records.checkpoint_flags import read_flags
from dacapo_core.store.records.name_collisions import spelled

_PIECE = 4 << 20


class CopyConflictError(StoreError, FileExistsError):
    """The target holds another checkpoint of the same name; nothing was copied."""


def copy_run(
    source: MetadataStore,
    target: MetadataStore,
    run: str,
    *,
    name: str | None = None,
    iterations: Iterable[int] | None = None,
) -> Iterator[int]:
    """Copy checkpoints, then their records, scores, configuration and best records.

    A checkpoint is verified before it is copied and in the target. What the target has already is
    not copied again, so a copy that was cut off goes on; where it is damaged there, it is
    replaced. Best records come last. Pins, leases and what was pruned stay behind, what is within
    its grace period too, unless it is asked for by its iteration.

    Args:
        name: of the run in the target; default the same.
        iterations: only these; default all. Bests of others are left out.

    Yields:
        each iteration once it is there.

    Raises:
        MissingCheckpointError: no such run or iteration.
        CopyConflictError: the target has another checkpoint of the same name.
        DamagedCheckpointError: one of the source is damaged; those before it are in the target.
    """
    name = layout.check_run_name(name or run)
    there = source.iterations(run)
    if iterations is None:
        marked = marked_iterations(source, run)
        wanted = sorted(set(there) - marked)
    else:
        wanted = sorted(set(iterations))
    missing = sorted(set(wanted) - set(there))
    if missing or not there:
        raise MissingCheckpointError(
            f"run {run!r} has no checkpoint "
            + (f"of iteration {', '.join(map(str, missing))} " if missing else "")
            + f"in {source.basedir}"
        )
    present = _present(source.filesystem, target.filesystem, run, name, wanted)
    for iteration in wanted:
        if iteration not in present:
            _copy_checkpoint(source.filesystem, run, iteration, target.filesystem, name)
        _copy_record(
            source.filesystem,
            layout.CHECKPOINT_RECORDS.path(run, iteration),
            target.filesystem,
            layout.CHECKPOINT_RECORDS.path(name, iteration),
        )
        if iteration not in present:
            verify_checkpoint(target.filesystem, name, iteration)
        yield iteration
    for record_name in (layout.RUN_CONFIG, layout.START_REPORT, layout.INTENSITIES):
        _copy_record(
            source.filesystem,
            layout.run_record_path(run, record_name),
            target.filesystem,
            layout.run_record_path(name, record_name),
        )
    for record in source.scores(run):
        dataset = spelled(source.filesystem, run, record.dataset) or record.dataset
        target.store_scores(name, record.iteration, dataset, record)
    for (dataset, criterion), best in source.best_records(run).items():
        if best.iteration in wanted and not best.replaced:
            target.store_best(
                name,
                best.iteration,
                spelled(source.filesystem, run, dataset) or dataset,
                criterion,
                score=best.score,
                parameters=best.parameters,
            )


def marked_iterations(store: MetadataStore, run: str) -> set[int]:
    """Those that were pruned and are within their grace period."""
    flags = read_flags(store.filesystem, run)
    listed = list_checkpoints(store.filesystem, run, flags)
    return {iteration for iteration, each in listed.items() if each.marked is not None}


def _present(
    source: StoreFilesystem, target: StoreFilesystem, run: str, name: str, wanted: Iterable[int]
) -> set[int]:
    """Those that the target has already, whole."""
    there = set(target.sound_names(layout.iterations_folder(name)))
    both = [iteration for iteration in wanted if str(iteration) in there]
    said = source.read_many(layout.CHECKPOINT_RECORDS.path(run, i) for i in both)
    heard = target.read_many(layout.CHECKPOINT_RECORDS.path(name, i) for i in both)
    whole = set()
    for iteration in both:
        mine = said.get(layout.CHECKPOINT_RECORDS.path(run, iteration))
        yours = heard.get(layout.CHECKPOINT_RECORDS.path(name, iteration))
        try:
            verify_checkpoint(target, name, iteration)
        except DamagedCheckpointError:
            if yours is None or mine == yours:
                continue
        # records are of one file each; without two, the files themselves are asked
        same = (
            mine == yours if yours is not None else _are_equal(source, run, target, name, iteration)
        )
        if not same:
            raise CopyConflictError(
                f"{target.url(layout.checkpoint_path(name, iteration))} is another checkpoint; "
                "copy under another name"
            )
        whole.add(iteration)
    return whole


def _are_equal(
    source: StoreFilesystem, run: str, target: StoreFilesystem, name: str, iteration: int
) -> bool:
    with (
        source.local_copy(layout.checkpoint_path(run, iteration)) as mine,
        target.local_copy(layout.checkpoint_path(name, iteration)) as yours,
        open(mine, "rb") as a,
        open(yours, "rb") as b,
    ):
        while (piece := a.read(_PIECE)) == b.read(_PIECE):
            if not piece:
                return True
    return False


def _copy_checkpoint(
    source: StoreFilesystem, run: str, iteration: int, target: StoreFilesystem, name: str
) -> None:
    with (
        verified_copy(source, run, iteration) as local,
        open(local, "rb") as content,
        target.replacing(layout.checkpoint_path(name, iteration)) as file,
    ):
        while piece := _read(content, source.url(layout.checkpoint_path(run, iteration))):
            write_all(file, piece)


def _read(content: BinaryIO, url: str) -> bytes:
    # within the writing of the target: an error of the source is to be said as such
    with reading(url):
        return content.read(_PIECE)


def _copy_record(
    source: StoreFilesystem, path: str, target: StoreFilesystem, new_path: str
) -> None:
    try:
        content = source.read_bytes(path)
    except (FileNotFoundError, NotAFileError):
        return
    target.write_bytes(new_path, content)

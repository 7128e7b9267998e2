"""Scores on record, one object per iteration and dataset, and the best derived from them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from pydantic import ValidationError

from dacapo_core.store import layout
from dacapo_core.store.errors import (
    DamagedCheckpointError,
    DamagedRecordError,
    MissingCheckpointError,
)
from dacapo_core.store.files.filesystem import StoreFilesystem
from dacapo_core.store.records.best_records import delete_best, read_all_best, write_best
from dacapo_core.store.records.iteration_notes import read_notes
from dacapo_core.store.records.run_facts import list_checkpoints
from dacapo_core.store.records.scores import BestRecord, Judged, ScoresRecord, best_of


def write_scores(
    filesystem: StoreFilesystem, run: str, iteration: int, dataset: str, scores: ScoresRecord
) -> None:
    """Keep the scores of a checkpoint on a dataset, in place of earlier ones of the same.

    The checkpoint need not exist: the score before the first step is kept without one.

    Raises:
        InvalidNameError: a name that the layout cannot hold.
        ValueError: the record is of another iteration or dataset.
    """
    layout.check_run_name(run)
    iteration = layout.check_iteration(iteration)
    folder = layout.check_dataset_name(dataset)
    if (scores.iteration, layout.check_dataset_name(scores.dataset)) != (iteration, folder):
        raise ValueError(
            f"the scores are of iteration {scores.iteration} on {scores.dataset!r}, "
            f"not of iteration {iteration} on {dataset!r}"
        )
    for criterion in scores.criteria:
        layout.check_criterion_name(criterion)
    record = scores.model_copy(update={"dataset": folder})
    path = layout.scores_path(run, iteration, folder)
    filesystem.write_bytes(path, record.model_dump_json().encode())


def read_scores(
    filesystem: StoreFilesystem, run: str, iterations: Iterable[int] | None = None
) -> tuple[list[ScoresRecord], dict[int, str]]:
    """Scores of a run by iteration and dataset, and what could not be read.

    One listing, and one concurrent read of what is new in it.

    Args:
        iterations: only those; default all.

    Returns:
        the records, and iteration → what is wrong for those of damaged records.
    """
    wanted = None if iterations is None else set(iterations)
    folder = layout.scores_folder(layout.check_run_name(run))
    paths: dict[str, int] = {}
    files = []
    for file in filesystem.find_files(folder):
        number, _, name = file.name.partition("/")
        iteration = layout.parse_iteration(number)
        if iteration is None or not name.endswith(".json") or "/" in name:
            continue
        if wanted is None or iteration in wanted:
            paths[f"{folder}/{file.name}"] = iteration
            files.append(file)
    records: list[ScoresRecord] = []
    damaged: dict[int, str] = {}
    for path, content in filesystem.read_listed(folder, files).items():
        try:
            record = _parsed(content)
        except ValidationError as error:
            damaged[paths[path]] = f"{filesystem.url(path)}: {error.errors()[0]['msg']}"
            continue
        if record.iteration == paths[path]:
            records.append(record)
        else:
            damaged[paths[path]] = f"{filesystem.url(path)} is of iteration {record.iteration}"
    records.sort(key=lambda record: (record.iteration, record.dataset))
    return records, damaged


@lru_cache(maxsize=4096)
def _parsed(content: bytes) -> ScoresRecord:
    return ScoresRecord.model_validate_json(content)


def read_all_scores(filesystem: StoreFilesystem, run: str) -> list[ScoresRecord]:
    """
    Raises:
        DamagedRecordError: one cannot be read; it is named.
    """
    records, damaged = read_scores(filesystem, run)
    if damaged:
        raise DamagedRecordError(
            f"scores that cannot be read: {'; '.join(damaged.values())}. Validate these "
            "iterations again, or delete the records"
        )
    return records


def derive_best(filesystem: StoreFilesystem, run: str) -> dict[Judged, BestRecord]:
    """Move every best to what the scores of the live checkpoints say.

    Several may derive at once: each looks again after it has written, so that the last one
    to write has seen all scores. A best without any live score stays where it is.

    Returns:
        those that moved.
    """
    moved: dict[Judged, BestRecord] = {}
    # each round but the last was made necessary by another writer
    for _ in range(20):
        live = _live(filesystem, run)
        records, _ = read_scores(filesystem, run, live)
        derived = best_of(records)
        recorded = read_all_best(filesystem, run, live)
        wrong = {judged: best for judged, best in derived.items() if recorded.get(judged) != best}
        if not wrong:
            break
        for (dataset, criterion), best in wrong.items():
            try:
                write_best(filesystem, run, dataset, criterion, best)
            except (MissingCheckpointError, DamagedCheckpointError):
                continue
            moved[dataset, criterion] = best
    return moved


def withdraw_scores_after(filesystem: StoreFilesystem, run: str, iteration: int) -> list[int]:
    """Discard scores and best records past an iteration: training resumes there.

    Bests move back to what the remaining scores say; those that nothing else holds go.

    Returns:
        the iterations whose scores were discarded.
    """
    folder = layout.scores_folder(layout.check_run_name(run))
    found: dict[str, int] = {}
    for file in filesystem.find_files(folder):
        number = layout.parse_iteration(file.name.partition("/")[0])
        if number is not None and number > iteration:
            found[f"{folder}/{file.name}"] = number
    filesystem.delete_all(found)
    past = [
        judged
        for judged, best in read_all_best(filesystem, run).items()
        if best.iteration > iteration
    ]
    delete_best(filesystem, run, past)
    derive_best(filesystem, run)
    return sorted(set(found.values()))


def _live(filesystem: StoreFilesystem, run: str) -> set[int]:
    """Iterations whose checkpoint is there and not known to be damaged."""
    checkpoints = list_checkpoints(filesystem, run, read_notes(filesystem, run))
    return {iteration for iteration, each in checkpoints.items() if each.damaged is None}

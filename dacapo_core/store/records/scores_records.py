"""Scores on record, one object per iteration and dataset, and the best derived from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from pydantic import ValidationError

from dacapo_core.store import layout
from dacapo_core.store.errors import (
    DamagedCheckpointError,
    DamagedRecordError,
    MissingCheckpointError,
)
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.plan import StoredCheckpoint
from dacapo_core.store.pruning.run_inventory import list_checkpoints
from dacapo_core.store.records.best_lookup import read_all_best
from dacapo_core.store.records.best_records import delete_best, write_best
from dacapo_core.store.records.checkpoint_flags import CheckpointFlags, read_flags
from dacapo_core.store.records.checkpoint_identity import AWAITED, UNKNOWN, CheckpointIdentity
from dacapo_core.store.records.present_checkpoints import (
    are_of_present,
    identify,
    identity_of,
    seen_as,
)
from dacapo_core.store.records.process_identity import this_person
from dacapo_core.store.records.score_names import in_words
from dacapo_core.store.records.scores import BestRecord, Judged, ScoresRecord, best_of
from dacapo_core.store.records.withdrawn_records import Withdrawn, write_withdrawn

logger = logging.getLogger(__name__)


def write_scores(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    dataset: str,
    scores: ScoresRecord,
    judged: CheckpointIdentity | None = None,
) -> None:
    """Keep the scores of a checkpoint on a dataset, in place of earlier ones of the same.

    The checkpoint need not exist: the score before the first step is kept without one. Scores of
    a checkpoint that another has replaced are kept for the history alone.

    Args:
        judged: the checkpoint that the scores are of; default the one that is there.

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
    judged = scores.of or judged
    try:
        file = filesystem.file_info(layout.checkpoint_path(run, iteration))
    except FileNotFoundError:
        there: dict[int, StoredCheckpoint] = {}
        judged = judged or CheckpointIdentity(nonce=AWAITED, size=0, modified=0.0)
    else:
        there = {iteration: seen_as(iteration, file)}
        if are_of_present(filesystem, run, there, [(iteration, judged)]) == [False]:
            _keep_for_history(filesystem, run, scores.model_copy(update={"of": judged}))
            logger.warning(
                "scores of %s/%d on %s are of a checkpoint that was stored again since: "
                "they are kept in its history, and count for nothing",
                run,
                iteration,
                scores.dataset,
            )
            return
        known = judged is not None and judged.nonce not in (UNKNOWN, AWAITED)
        if judged is None or not known or judged != identity_of(file, judged.nonce):
            judged = identify(filesystem, run, iteration, file)
    record = scores.model_copy(update={"dataset": folder, "of": judged})
    path = layout.scores_path(run, iteration, folder)
    content = record.model_dump_json().encode()
    try:
        filesystem.create_bytes(path, content)
    except FileExistsError:
        for read in filesystem.read_many([path]).values():
            before = parsed_scores(read)
            said = [] if before is None else [(iteration, before.of)]
            if before is not None and not all(are_of_present(filesystem, run, there, said)):
                _keep_for_history(filesystem, run, before)
        filesystem.write_bytes(path, content)


def _keep_for_history(filesystem: StoreFilesystem, run: str, scores: ScoresRecord) -> None:
    withdrawn = {scores.iteration: Withdrawn(of=scores.of, scores=[scores])}
    write_withdrawn(filesystem, run, "scored late", withdrawn, scores.by or this_person())


class Scores(NamedTuple):
    """Scores of a run, by iteration and dataset.

    Attributes:
        records: of the checkpoints that are there, and of iterations that have none.
        damaged: iteration → what is wrong, of records that cannot be read.
        replaced: of checkpoints that others have replaced.
    """

    records: list[ScoresRecord]
    damaged: dict[int, str]
    replaced: list[ScoresRecord]


def read_scores(
    filesystem: StoreFilesystem,
    run: str,
    there: Mapping[int, StoredCheckpoint] | None = None,
    iterations: Iterable[int] | None = None,
) -> Scores:
    """One listing, and one concurrent read of what is new in it.

    Args:
        there: the run's checkpoints, where the caller has listed them.
        iterations: only those; default all.
    """
    wanted = None if iterations is None else set(iterations)
    folder = layout.scores_folder(layout.check_run_name(run))
    paths: dict[str, int] = {}
    names = set()
    files = filesystem.find_files(folder)
    for file in files:
        number, _, name = file.name.partition("/")
        iteration = layout.parse_iteration(number)
        if iteration is None or not name.endswith(".json") or "/" in name:
            continue
        if wanted is None or iteration in wanted:
            paths[f"{folder}/{file.name}"] = iteration
            names.add(file.name)
    records: list[ScoresRecord] = []
    damaged: dict[int, str] = {}
    for path, content in filesystem.read_listed(folder, files, names).items():
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
    said = [(record.iteration, record.of) for record in records]
    if there is None:
        named = any(of is not None for _, of in said)
        there = list_checkpoints(filesystem, run, CheckpointFlags()) if named else {}
    hold = are_of_present(filesystem, run, there, said)
    return Scores(
        [record for record, holds in zip(records, hold, strict=True) if holds],
        damaged,
        [record for record, holds in zip(records, hold, strict=True) if not holds],
    )


def parsed_scores(content: bytes) -> ScoresRecord | None:
    """None for a record that cannot be read."""
    try:
        return _parsed(content)
    except ValidationError:
        return None


@lru_cache(maxsize=4096)
def _parsed(content: bytes) -> ScoresRecord:
    return ScoresRecord.model_validate_json(content)


def read_all_scores(filesystem: StoreFilesystem, run: str) -> list[ScoresRecord]:
    """
    Raises:
        DamagedRecordError: one cannot be read; it is named.
    """
    records, damaged, _ = read_scores(filesystem, run)
    if damaged:
        raise DamagedRecordError(
            f"scores that cannot be read: {'; '.join(damaged.values())}. Validate these "
            "iterations again, or delete the records"
        )
    return records


def derive_best(filesystem: StoreFilesystem, run: str) -> dict[Judged, BestRecord]:
    """Move every best to what the scores of the live checkpoints say.

    Several may derive at once: each looks again after it has written, so that the last one
    to write has seen all scores. A best without any live score stays where it is, unless its
    checkpoint was replaced, or scored again with a score that is not finite.

    Returns:
        those that moved.
    """
    moved: dict[Judged, BestRecord] = {}
    # each round but the last was made necessary by another writer
    for _ in range(20):
        live = _live(filesystem, run)
        scores = read_scores(filesystem, run, live, live).records
        derived = best_of(scores)
        recorded = read_all_best(filesystem, run, live)
        wrong = {judged: best for judged, best in derived.items() if recorded.get(judged) != best}
        replaced = [judged for judged, best in recorded.items() if best.replaced]
        delete_best(filesystem, run, [judged for judged in replaced if judged not in derived])
        _withdraw_not_finite(filesystem, run, derived, recorded, scores)
        if not wrong:
            break
        for (dataset, criterion), best in wrong.items():
            try:
                write_best(filesystem, run, dataset, criterion, best)
            except (MissingCheckpointError, DamagedCheckpointError):
                continue
            moved[dataset, criterion] = best
    return moved


def _withdraw_not_finite(
    filesystem: StoreFilesystem,
    run: str,
    derived: Mapping[Judged, BestRecord],
    recorded: Mapping[Judged, BestRecord],
    scores: Iterable[ScoresRecord],
) -> None:
    """Drop the bests that nothing else takes over from, and that were scored again, not finite."""
    not_finite = {
        (record.iteration, (record.dataset, criterion))
        for record in scores
        for criterion in record.not_finite()
    }
    for judged, best in recorded.items():
        if judged in derived or (best.iteration, judged) not in not_finite:
            continue
        name = "/".join(judged)
        logger.warning(
            "%s/%d is no longer the best by %s: it was scored again, and its score is not finite",
            run,
            best.iteration,
            in_words([name]),
        )
        withdrawn = {best.iteration: Withdrawn(of=best.of, best={name: best})}
        write_withdrawn(filesystem, run, "not finite", withdrawn, this_person())
        delete_best(filesystem, run, [judged])


def withdraw_scores_after(filesystem: StoreFilesystem, run: str, iteration: int) -> list[int]:
    """Discard scores and best records past an iteration: training resumes there.

    They stay in the history. Bests move back to what the remaining scores say; those that nothing
    else holds go.

    Returns:
        the iterations whose scores were discarded.
    """
    folder = layout.scores_folder(layout.check_run_name(run))
    found: dict[str, int] = {}
    for file in filesystem.find_files(folder):
        number = layout.parse_iteration(file.name.partition("/")[0])
        if number is not None and number > iteration:
            found[f"{folder}/{file.name}"] = number
    past = {
        judged: best
        for judged, best in read_all_best(filesystem, run).items()
        if best.iteration > iteration
    }
    gone = set(found.values())
    if found or past:
        records, _, replaced = read_scores(filesystem, run, iterations=gone)
        withdrawn: dict[int, Withdrawn] = {}
        for number in gone | {best.iteration for best in past.values()}:
            scores = [each for each in [*records, *replaced] if each.iteration == number]
            best = {f"{d}/{c}": b for (d, c), b in past.items() if b.iteration == number}
            withdrawn[number] = Withdrawn(scores=scores, best=best)
        write_withdrawn(filesystem, run, "resumed", withdrawn, this_person())
    filesystem.delete_all(found)
    delete_best(filesystem, run, past)
    derive_best(filesystem, run)
    return sorted(gone)


def _live(filesystem: StoreFilesystem, run: str) -> dict[int, StoredCheckpoint]:
    """Checkpoints that are there and not known to be damaged."""
    checkpoints = list_checkpoints(filesystem, run, read_flags(filesystem, run))
    return {iteration: each for iteration, each in checkpoints.items() if each.damaged is None}

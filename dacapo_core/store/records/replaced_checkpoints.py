"""An iteration is stored again: scores, pins and bests of the replaced file do not pass to the new.

Each of these facts names the file that it is about. To those that name an iteration alone, as
DaCapo and earlier versions write them, the file is added first; then the new one may take its
place, and a process killed at any moment leaves no fact that could be taken for the new one's.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dacapo_core.store import layout
from dacapo_core.store.filesystems.file_info import FileInfo
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.pruning.plan import StoredCheckpoint
from dacapo_core.store.records.best_lookup import read_best_records
from dacapo_core.store.records.best_records import delete_best, stamp_best
from dacapo_core.store.records.checkpoint_flags import Pin
from dacapo_core.store.records.checkpoint_identity import AWAITED, UNKNOWN, CheckpointIdentity
from dacapo_core.store.records.json_records import parsed, write_json
from dacapo_core.store.records.picture_records import delete_pictures
from dacapo_core.store.records.present_checkpoints import are_of_present, identify, seen_as
from dacapo_core.store.records.process_identity import this_person
from dacapo_core.store.records.score_names import in_words
from dacapo_core.store.records.scores import BestRecord, Judged, ScoresRecord
from dacapo_core.store.records.scores_records import derive_best, parsed_scores
from dacapo_core.store.records.strict_json import parsed_json
from dacapo_core.store.records.withdrawn_records import Withdrawn, write_withdrawn

logger = logging.getLogger(__name__)

_GONE = CheckpointIdentity(nonce=UNKNOWN, size=0, modified=0.0)


@dataclass(frozen=True)
class _Facts:
    """Scores and pins of an iteration by path, bests by dataset and criterion."""

    scores: Mapping[str, ScoresRecord]
    pins: Mapping[str, Pin]
    best: Mapping[Judged, BestRecord]

    def __bool__(self) -> bool:
        return bool(self.scores or self.pins or self.best)


@dataclass(frozen=True)
class Before:
    """The checkpoint that is about to be replaced, or was deleted and left facts behind."""

    of: CheckpointIdentity
    stored: datetime | None
    stored_by: str | None


def newest_known(filesystem: StoreFilesystem, run: str) -> int:
    """The newest iteration that has a checkpoint, scores, a pin or a best; -1 without any."""
    names = filesystem.file_names(layout.iterations_folder(run))
    names += filesystem.list_folders(layout.scores_folder(run))
    known = {layout.parse_iteration(name) for name in names}
    for name in filesystem.file_names(layout.PINS.of(run)):
        numbered = layout.parse_numbered_record(name)
        known.add(None if numbered is None else numbered[0])
    best, _ = read_best_records(filesystem, run, {})
    known |= {record.iteration for record in best.values()}
    return max((iteration for iteration in known if iteration is not None), default=-1)


def about_to_store(filesystem: StoreFilesystem, run: str, iteration: int) -> Before | None:
    """Add to the facts about an iteration which file they mean; None where there is nothing."""
    file: FileInfo | None
    try:
        file = filesystem.file_info(layout.checkpoint_path(run, iteration))
    except FileNotFoundError:
        file = None
    there = {} if file is None else {iteration: seen_as(iteration, file)}
    facts = _read(filesystem, run, iteration, there)
    if file is None:
        if not facts:
            return None
        before = Before(_GONE, None, None)
    else:
        of = identify(filesystem, run, iteration, file)
        stored = datetime.fromtimestamp(file.modified, UTC)
        before = Before(of, stored, _stored_by(filesystem, run, iteration, of))
    for path, scores in facts.scores.items():
        if scores.of is None or (file is not None and scores.of.nonce == AWAITED):
            stamped = scores.model_copy(update={"of": before.of})
            filesystem.write_bytes(path, stamped.model_dump_json().encode())
    for path, pin in facts.pins.items():
        if pin.of is None:
            write_json(filesystem, path, pin.model_copy(update={"of": before.of}))
    unsaid = {judged: best for judged, best in facts.best.items() if best.of is None}
    stamp_best(filesystem, run, unsaid, before.of)
    return before


def withdraw_facts(filesystem: StoreFilesystem, run: str, iteration: int, before: Before) -> None:
    """Move the facts about the replaced checkpoint to the history; the new one begins without.

    Its bests move to the best-scored of the other checkpoints.
    """
    try:
        file = filesystem.file_info(layout.checkpoint_path(run, iteration))
    except FileNotFoundError:
        return  # pruned already, and `withdraw_replaced` was called before
    there = {iteration: seen_as(iteration, file)}
    facts = _replaced(filesystem, run, there, _read(filesystem, run, iteration, there))
    if facts or before.of != _GONE:
        _withdraw(filesystem, run, iteration, facts, before, there[iteration].stored)
    if facts.best:
        derive_best(filesystem, run)


def withdraw_replaced(
    filesystem: StoreFilesystem,
    run: str,
    there: Mapping[int, StoredCheckpoint],
    iterations: Collection[int],
) -> bool:
    """Of checkpoints that are about to be deleted, withdraw the facts about those they replaced.

    `withdraw_facts` does that when an iteration is stored again, unless its process died, or is
    between the two. With the checkpoint gone nothing would tell that they are about another file.

    Returns:
        whether bests are among them: the caller derives them again, when no deletion of its own is
        under way that another best would wait for.
    """
    had_best = False
    for iteration in iterations:
        one = {iteration: there[iteration]}
        facts = _replaced(filesystem, run, one, _read(filesystem, run, iteration, one))
        if facts:
            _withdraw(filesystem, run, iteration, facts, Before(_GONE, None, None), None)
            had_best = had_best or bool(facts.best)
    return had_best


def _withdraw(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    facts: _Facts,
    before: Before,
    since: datetime | None,
) -> None:
    withdrawn = Withdrawn(
        of=None if before.of == _GONE else before.of,
        stored=before.stored,
        stored_by=before.stored_by,
        scores=list(facts.scores.values()),
        best={f"{dataset}/{criterion}": best for (dataset, criterion), best in facts.best.items()},
        pins=list(facts.pins.values()),
    )
    write_withdrawn(filesystem, run, "stored again", {iteration: withdrawn}, this_person(), since)
    if not facts:
        return
    filesystem.delete_all([*facts.scores, *facts.pins])
    delete_best(filesystem, run, facts.best)
    delete_pictures(filesystem, run, {iteration})
    for pin in facts.pins.values():
        logger.warning(
            "%s/%d was stored again: the checkpoint before was %s, this one is not",
            run,
            iteration,
            pin,
        )
    if facts.best:
        logger.warning(
            "%s/%d was stored again: the checkpoint before was the best by %s, this one has no "
            "scores yet",
            run,
            iteration,
            in_words(withdrawn.best),
        )


def _read(
    filesystem: StoreFilesystem,
    run: str,
    iteration: int,
    there: Mapping[int, StoredCheckpoint],
) -> _Facts:
    folder = layout.scores_folder(run, iteration)
    names = [name for name in filesystem.file_names(folder) if name.endswith(".json")]
    scores = {
        path: record
        for path, content in filesystem.read_many(f"{folder}/{name}" for name in names).items()
        if (record := parsed_scores(content)) is not None
    }
    folder = layout.PINS.of(run)
    names = [
        name
        for name in filesystem.file_names(folder)
        if (numbered := layout.parse_numbered_record(name)) and numbered[0] == iteration
    ]
    pins = {
        path: pin
        for path, content in filesystem.read_many(f"{folder}/{name}" for name in names).items()
        if (pin := parsed(Pin, content)) is not None
    }
    best, _ = read_best_records(filesystem, run, there)
    named = {judged: record for judged, record in best.items() if record.iteration == iteration}
    return _Facts(scores, pins, named)


def _replaced(
    filesystem: StoreFilesystem, run: str, there: Mapping[int, StoredCheckpoint], facts: _Facts
) -> _Facts:
    """The facts that are about another file than the one that is there."""
    (iteration,) = there

    def replaced(of: CheckpointIdentity | None) -> bool:
        return not all(are_of_present(filesystem, run, there, [(iteration, of)]))

    return _Facts(
        {path: each for path, each in facts.scores.items() if replaced(each.of)},
        {path: each for path, each in facts.pins.items() if replaced(each.of)},
        {judged: each for judged, each in facts.best.items() if replaced(each.of)},
    )


def _stored_by(
    filesystem: StoreFilesystem, run: str, iteration: int, of: CheckpointIdentity
) -> str | None:
    """Who stored a checkpoint, by its record."""
    path = layout.CHECKPOINT_RECORDS.path(run, iteration)
    for content in filesystem.read_many([path]).values():
        try:
            record = parsed_json(content)
        except ValueError:
            return None
        if isinstance(record, dict) and record.get("nonce") == of.nonce:
            return str(record.get("by"))
    return None

"""Forgetting a dataset or a criterion of a run: its bests, their mirrors, and its scores."""

from __future__ import annotations

from collections.abc import Iterable

from dacapo_core.store import layout
from dacapo_core.store.errors import InvalidNameError, MissingRecordError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.best_lookup import list_judged, read_best_records
from dacapo_core.store.records.best_records import delete_best
from dacapo_core.store.records.picture_records import delete_pictures_of
from dacapo_core.store.records.process_identity import this_person
from dacapo_core.store.records.scores import BestRecord, Judged, ScoreEntry, ScoresRecord
from dacapo_core.store.records.scores_records import parsed_scores
from dacapo_core.store.records.withdrawn_records import Withdrawn, write_withdrawn


def forget(
    filesystem: StoreFilesystem,
    run: str,
    dataset: str | None,
    criterion: str | None,
    *,
    by: str | None = None,
) -> list[Judged]:
    """Drop what a run says of a dataset, of a criterion, or of one on the other.

    The history keeps what was best, and the best score of each checkpoint. Scores that come later
    count again.

    Returns:
        what was forgotten, in order.

    Raises:
        InvalidNameError: neither is given, or a name that the layout cannot hold.
        MissingRecordError: the run has none; says what it has.
    """
    layout.check_run_name(run)
    if dataset is None and criterion is None:
        raise InvalidNameError("say which dataset, or which criterion, is to be forgotten")
    folder = None if dataset is None else layout.check_dataset_name(dataset)
    if criterion is not None:
        layout.check_criterion_name(criterion)
    recorded, _ = read_best_records(filesystem, run)
    listed = list_judged(filesystem, run)
    scores = _scores(filesystem, run)
    scored = {
        (record.dataset, name)
        for record in scores.values()
        if record is not None
        for name in _criteria(record)
    }
    known = listed | scored | recorded.keys()
    wanted = sorted(each for each in known if _is_meant(each, folder, criterion))
    if not wanted:
        named = ", ".join(sorted({f"{d}/{c}" for d, c in recorded.keys() | scored})) or "none"
        raise MissingRecordError(
            f"run {run!r} knows no "
            + " ".join(
                f"{kind} {name!r}"
                for kind, name in (("dataset", dataset), ("criterion", criterion))
                if name is not None
            )
            + f"; it knows {named}"
        )
    changed = {
        path: record
        for path, record in scores.items()
        if record is not None and any((record.dataset, c) in wanted for c in _criteria(record))
    }
    best = {judged: recorded[judged] for judged in wanted if judged in recorded}
    write_withdrawn(
        filesystem,
        run,
        "forgotten",
        _withdrawn(changed.values(), best, set(wanted)),
        by or this_person(),
        judged=[f"{d}/{c}" for d, c in wanted],
    )
    for path, record in changed.items():
        rest = _without(record, {c for d, c in wanted if d == record.dataset})
        if rest is None:
            filesystem.delete_all([path])
        else:
            filesystem.write_bytes(path, rest.model_dump_json().encode())
    delete_best(filesystem, run, wanted)
    if folder is not None and criterion is None:
        delete_pictures_of(filesystem, run, folder)
    return wanted


def _is_meant(judged: Judged, dataset: str | None, criterion: str | None) -> bool:
    return dataset in (None, judged[0]) and criterion in (None, judged[1])


def _scores(filesystem: StoreFilesystem, run: str) -> dict[str, ScoresRecord | None]:
    folder = layout.scores_folder(run)
    paths = [
        f"{folder}/{file.name}"
        for file in filesystem.find_files(folder)
        if file.name.endswith(".json")
    ]
    return {path: parsed_scores(content) for path, content in filesystem.read_many(paths).items()}


def _criteria(record: ScoresRecord) -> set[str]:
    return {*record.criteria, *(name for entry in record.entries for name in entry.scores)}


def _without(record: ScoresRecord, criteria: set[str]) -> ScoresRecord | None:
    """The scores of the other criteria; None where there are none."""
    entries = [
        entry.model_copy(
            update={"scores": {c: s for c, s in entry.scores.items() if c not in criteria}}
        )
        for entry in record.entries
    ]
    kept = {name: higher for name, higher in record.criteria.items() if name not in criteria}
    rest = record.model_copy(
        update={"criteria": kept, "entries": [entry for entry in entries if entry.scores]}
    )
    return rest if _criteria(rest) else None


def _withdrawn(
    records: Iterable[ScoresRecord], best: dict[Judged, BestRecord], forgotten: set[Judged]
) -> dict[int, Withdrawn]:
    """By iteration, of each criterion that is forgotten the best score, and what was best."""
    scores: dict[int, list[ScoresRecord]] = {}
    for record in records:
        criteria = {c: h for c, h in record.criteria.items() if (record.dataset, c) in forgotten}
        entries = []
        for name, higher in criteria.items():
            found = record.best_entry(name, higher)
            if found is not None:
                entries.append(ScoreEntry(parameters=found[1], scores={name: found[0]}))
        kept = record.model_copy(update={"criteria": criteria, "entries": entries})
        scores.setdefault(record.iteration, []).append(kept)
    iterations = scores.keys() | {record.iteration for record in best.values()}
    return {
        iteration: Withdrawn(
            scores=scores.get(iteration, []),
            best={f"{d}/{c}": b for (d, c), b in best.items() if b.iteration == iteration},
        )
        for iteration in sorted(iterations)
    }

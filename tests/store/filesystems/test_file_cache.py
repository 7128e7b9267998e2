"""Records that a listing shows unchanged are not read again; changed ones always are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoreEntry, ScoresRecord
from dacapo_core.store.records.scores_records import read_scores


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that are really read."""
    found: list[str] = []
    read_many = StoreFilesystem.read_many

    def noted(self: StoreFilesystem, paths: list[str]) -> dict[str, bytes]:
        found.extend(paths := list(paths))
        return read_many(self, paths)

    monkeypatch.setattr(StoreFilesystem, "read_many", noted)
    return found


def age(folder: Path) -> None:
    """Make all files a minute old."""
    for file in folder.rglob("*.json"):
        os.utime(file, (time.time() - 60,) * 2)


def test_a_run_of_many_validations_reads_each_record_once(tmp_path: Path, reads: list[str]) -> None:
    store = LocalWeightsStore(tmp_path)
    write(store, 10, 0.5)
    write(store, 20, 0.6)
    age(tmp_path)
    assert len(store.scores("run")) == 2
    reads.clear()
    write(store, 30, 0.7)
    assert [record.iteration for record in store.scores("run")] == [10, 20, 30]
    assert reads == ["run/records/scores/30/val.json"]


def test_what_was_written_again_is_read_again(tmp_path: Path) -> None:
    store, other = LocalWeightsStore(tmp_path), LocalWeightsStore(tmp_path)
    write(store, 10, 0.5)
    assert score_of(store) == 0.5
    write(other, 10, 0.7)
    assert score_of(store) == 0.7, "within the same second, of the same size"
    age(tmp_path)
    assert score_of(store) == 0.7
    write(other, 10, 0.9)
    assert score_of(store) == 0.9
    store.filesystem.delete(["run/records/scores/10/val.json"])
    assert store.scores("run") == []


def test_what_is_deleted_is_forgotten_and_what_is_not_asked_for_is_not(
    tmp_path: Path, reads: list[str]
) -> None:
    store = LocalWeightsStore(tmp_path)
    for iteration in (10, 20):
        write(store, iteration, 0.5)
    age(tmp_path)
    assert len(store.scores("run")) == 2
    store.filesystem.delete(["run/records/scores/10/val.json"])
    assert len(store.scores("run")) == 1
    (known,) = (files for files in store.filesystem._file_cache._known.values() if files)
    assert list(known) == ["run/records/scores/20/val.json"]
    reads.clear()
    assert read_scores(store.filesystem, "run", iterations=[]).records == []
    assert len(store.scores("run")) == 1
    assert "run/records/scores/20/val.json" not in reads


def write(store: LocalWeightsStore, iteration: int, score: float) -> None:
    record = ScoresRecord(
        iteration=iteration,
        dataset="val",
        criteria={"dice": True},
        entries=[ScoreEntry(scores={"dice": score})],
    )
    store.store_scores("run", iteration, "val", record)


def score_of(store: LocalWeightsStore) -> float | None:
    (record,) = store.scores("run")
    return record.entries[0].scores["dice"]

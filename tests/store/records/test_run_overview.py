"""A run in one small object, whatever it holds; a store of many in one small read each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.metadata_store import MetadataStore
from dacapo_core.store.records.history import CheckpointHistory
from dacapo_core.store.records.run_overview import (
    RunOverview,
    checkpoints_note,
    disk_levels,
)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def checkpoints(count: int) -> list[CheckpointHistory]:
    """Every tenth is kept, one is marked, the others went a minute after the next was stored."""
    return [
        CheckpointHistory(
            100 * number,
            "kept" if number % 10 == 0 else "marked" if number == count - 1 else "pruned",
            size=1000,
            stored=START + timedelta(minutes=number),
            pruned=None if number % 10 == 0 else START + timedelta(minutes=number + 2),
            restorable_until=START + timedelta(days=7) if number == count - 1 else None,
        )
        for number in range(1, count + 1)
    ]


def test_it_counts_what_is_kept_marked_and_gone() -> None:
    note = checkpoints_note(checkpoints(1000))
    assert (note.kept, note.marked, note.pruned) == (100, 1, 899)
    assert (note.kept_bytes, note.marked_bytes, note.freed_bytes) == (100_000, 1000, 899_000)
    assert note.restorable_until == START + timedelta(days=7)
    assert note.last_pruned == START + timedelta(minutes=1001)
    assert note.levels[-1].on_disk == 101_000
    assert note.levels[-1].freed == 899_000


@pytest.mark.parametrize("count", [0, 1, 10, 11, 12, 1000])
def test_its_size_does_not_grow_with_the_run(count: int) -> None:
    history = checkpoints(count)
    levels = disk_levels(history)
    assert len(levels) <= 24
    assert [each.time for each in levels] == sorted(each.time for each in levels)
    assert len(RunOverview(checkpoints=checkpoints_note(history)).model_dump_json()) < 2500


def test_runs_without_one_are_named_and_what_is_no_run_is_not(tmp_path: Path) -> None:
    for name in ("ours", "of-dacapo"):
        (tmp_path / name / "checkpoints/iterations").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    store = LocalWeightsStore(tmp_path)
    overview = RunOverview(checkpoints=checkpoints_note(checkpoints(3)))
    store.store_overview("ours", overview)
    assert store.overviews() == {"ours": overview, "of-dacapo": None}
    (tmp_path / "ours/records/overview.json").write_text("{half")
    assert store.overviews(["ours"]) == {"ours": None}


def test_a_reader_of_what_is_on_record_waits_for_nothing(tmp_path: Path) -> None:
    store = LocalWeightsStore(tmp_path)
    reader = store.on_record()
    assert type(reader) is MetadataStore
    assert reader.runs() == []
    store.store_overview("run", RunOverview())
    assert reader.overviews(["run"]) == {"run": RunOverview()}

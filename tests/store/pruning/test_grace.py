"""Pruning within a grace period: marked, restored, reclaimed, and what can come in between."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.errors import RestoreError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.pruning import prune_operation
from dacapo_core.store.retention import RetentionPolicy

Fill = Callable[..., None]
WEEK = RetentionPolicy(keep_last=1, grace="7d")
INSTANT = RetentionPolicy(keep_last=1, grace=timedelta(milliseconds=1))


def end_grace(store: LocalWeightsStore, iteration: int) -> None:
    """As if the grace period of a marked checkpoint were over."""
    path = f"run/records/marked/{iteration}.json"
    mark = json.loads(store.filesystem.read_bytes(path))
    mark["reclaim_after"] = mark["time"]
    store.filesystem.write_bytes(path, json.dumps(mark).encode())


def test_a_grace_period_marks_restores_and_reclaims(
    store: LocalWeightsStore, fill: Fill, open_store: Any
) -> None:
    fill(100, 200, 300)
    plan = store.prune("run", WEEK, by="nightly")
    assert list(plan.pruned) == [100, 200]
    assert open_store().iterations("run") == [100, 200, 300]
    store.retrieve_weights("run", 100)
    history = store.history("run").checkpoints[100]
    assert history.fate == "marked"
    assert "dacapo-store restore run 100" in history.answer("run")

    assert store.restore("run", 200, by="me") is True
    assert store.restore("run", 200) is False, "once is enough"
    assert store.history("run").checkpoints[200].fate == "kept"
    again = store.prune("run", RetentionPolicy(keep_last=2))
    assert list(again.kept) == [200, 300], "the restored one counts again"
    assert again.pruned[100][0].startswith("marked: ")
    assert store.iterations("run") == [100, 200, 300], "a mark's promise is kept"

    early = store.sweep("run")["run"]
    assert not early.reclaimed
    end_grace(store, 100)
    swept = store.sweep(by="nightly sweep")["run"]
    assert swept.reclaimed == {100: ["not among the last 1"]}
    assert swept.bytes_freed == plan.checkpoints[100].size
    assert store.iterations("run") == [200, 300]
    assert list(store.filesystem.file_names("run/records/marked")) == []
    with pytest.raises(RestoreError, match=r"\(reclaim\) on .* by nightly sweep: not among"):
        store.restore("run", 100)
    what = [event.what for event in store.history("run").checkpoints[200].events]
    assert what == ["stored", "pruned, within its grace period", "restored"]


def test_a_marked_checkpoint_that_became_the_best_is_not_reclaimed(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200, 300)
    store.prune("run", RetentionPolicy(keep_last=1, grace=timedelta(milliseconds=1)))
    store.store_best("run", 100, "val", "dice")
    assert store.sweep("run")["run"].reclaimed.keys() == {200}
    assert store.iterations("run") == [100, 300]
    assert store.history("run").checkpoints[100].fate == "kept"


def test_a_marked_checkpoint_that_is_stored_again_is_no_longer_marked(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200)
    store.prune("run", RetentionPolicy(keep_last=1, grace=timedelta(milliseconds=1)))
    fill(100)
    assert store.sweep("run")["run"].reclaimed == {}
    assert store.history("run").checkpoints[100].fate == "kept"


def test_a_marked_checkpoint_that_the_policy_pins_is_brought_back(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200, 300)
    store.prune("run", INSTANT)
    policy = RetentionPolicy(keep_last=1, pins=[100])
    dry = store.prune("run", policy, dry_run=True)
    assert store.history("run").checkpoints[100].fate == "marked"
    plan = store.prune("run", policy, by="nightly")
    assert plan.kept == dry.kept
    pinned, brought_back = plan.kept[100]
    assert pinned == "pinned by the policy"
    assert brought_back.startswith("brought back: pruned ")
    assert store.sweep("run")["run"].reclaimed.keys() == {200}
    history = store.history("run").checkpoints[100]
    assert (history.fate, history.events[-1].what) == ("kept", "restored")
    assert history.events[-1].by == "nightly"


def test_a_second_prune_keeps_the_reasons_of_the_first_and_frees_nothing_again(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200)
    first = store.prune("run", WEEK)
    size = first.checkpoints[100].size
    assert first.bytes_freed == size
    again = store.prune("run", RetentionPolicy(keep_every=200))
    marked, why = again.pruned[100]
    assert marked.startswith("marked: pruned ")
    assert why == "not among the last 1"
    assert (again.bytes_freed, again.bytes_marked) == (0, size)


def test_a_mark_is_of_one_file_whatever_the_clocks_say(tmp_path: Path, run: Any) -> None:
    store = LocalWeightsStore(tmp_path)
    for iteration in (100, 200):
        store.store_weights(run, iteration)
    file = tmp_path / "run/checkpoints/iterations/100"
    tomorrow = file.stat().st_mtime + 86_400
    os.utime(file, (tomorrow, tomorrow))
    store.prune("run", WEEK)
    assert store.history("run").checkpoints[100].fate == "marked"
    os.utime(file, (tomorrow - 200_000,) * 2)
    assert store.history("run").checkpoints[100].fate == "kept", "it is another one now"


def test_a_mark_that_cannot_be_written_is_reported_and_the_rest_goes_on(
    tmp_path: Path, run: Any
) -> None:
    store = LocalWeightsStore(tmp_path)
    for iteration in (100, 200, 300):
        store.store_weights(run, iteration)
    (tmp_path / "run/records/marked/100.json/in the way").mkdir(parents=True)
    plan = store.prune("run", WEEK)
    assert "records/marked/100.json" in plan.failed[100]
    assert plan.kept[100][0].startswith("could not be pruned: ")
    assert list(plan.pruned) == [200]
    history = store.history("run")
    assert [history.checkpoints[i].fate for i in (100, 200)] == ["kept", "marked"]
    assert [list(operation.iterations) for operation in history.operations] == [[200]]


def test_marks_of_a_killed_prune_are_put_on_record_by_the_next(
    store: LocalWeightsStore, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(100, 200, 300)
    monkeypatch.setattr(prune_operation, "end_intent", lambda *_: None)
    store.prune("run", WEEK, by="the killed one")
    monkeypatch.undo()
    store.filesystem.delete(["run/records/marked/200.json"])  # it had not come so far
    assert [len(op.iterations) for op in store.history("run").operations] == [1]
    (name,) = store.filesystem.file_names("run/records/pruning")
    intent = json.loads(store.filesystem.read_bytes(f"run/records/pruning/{name}"))
    intent["process"]["started"] = 1  # a process that is gone
    store.filesystem.write_bytes(f"run/records/pruning/{name}", json.dumps(intent).encode())

    store.sweep("run")
    assert list(store.filesystem.file_names("run/records/pruning")) == []
    (operation,) = store.history("run").operations
    assert (operation.kind, operation.by, operation.interrupted) == ("mark", "the killed one", True)
    assert list(operation.iterations) == [100]


def test_what_is_reclaimed_removed_or_marked_stays_on_record_with_its_scores(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200, 300, dice={100: 0.25, 200: 0.5})
    store.prune("run", RetentionPolicy(keep_last=2, grace=timedelta(milliseconds=1)))
    store.sweep("run")
    store.remove("run", 200, by="flow run brave-bee")
    mark, reclaim, remove = store.history("run").operations
    assert [each.kind for each in (mark, reclaim, remove)] == ["mark", "reclaim", "remove"]
    assert mark.iterations[100].scores == {"val_dice/dice": 0.25}
    assert reclaim.iterations[100].scores == {"val_dice/dice": 0.25}
    assert remove.iterations[200].scores == {"val_dice/dice": 0.5}
    assert remove.by == "flow run brave-bee"


def test_what_a_person_restored_is_kept_until_it_is_unpinned(
    store: LocalWeightsStore, fill: Fill, open_store: Any
) -> None:
    fill(100, 200, 300)
    store.prune("run", WEEK)
    store.restore("run", 100, by="ann")
    other: LocalWeightsStore = open_store()
    assert other.prune("run", RetentionPolicy(keep_last=1)).kept[100] == [
        "pinned: restored by hand"
    ]
    assert other.prune("run", INSTANT).kept[100] == ["pinned: restored by hand"]
    assert other.sweep("run")["run"].reclaimed == {}
    history = other.history("run").checkpoints[100]
    assert history.fate == "kept"
    assert "dacapo-store unpin run 100" in history.answer("run")
    store.unpin("run", 100)
    assert other.prune("run", RetentionPolicy(keep_last=1)).pruned.keys() == {100, 200}
    assert other.iterations("run") == [200, 300], "200 is still within its grace period"


def test_what_a_person_pinned_before_keeps_its_word(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200)
    store.prune("run", WEEK)
    store.pin("run", 100, why="for the paper")
    store.restore("run", 100)
    (pin,) = store.pins("run")[100]
    assert pin.why == "for the paper"


def test_what_a_policy_brought_back_is_not_pinned(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200)
    store.prune("run", WEEK)
    store.prune("run", RetentionPolicy(keep_last=1, pins=[100]))
    assert store.history("run").checkpoints[100].fate == "kept"
    assert store.pins("run") == {}

"""What is said of a checkpoint is said of its bytes, not of its iteration."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.store.errors import MissingCheckpointError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoresRecord
from dacapo_core.store.retention import RetentionPolicy

Fill = Callable[..., None]
JUDGED = ("val_dice", "dice")


def best_of(store: LocalWeightsStore) -> dict[tuple[str, str], int]:
    """The bests that hold."""
    return {
        judged: record.iteration
        for judged, record in store.best_records("run").items()
        if not record.replaced
    }


def events(store: LocalWeightsStore, iteration: int) -> list[str]:
    return [str(event) for event in store.history("run").checkpoints[iteration].events]


def by_iteration_alone(store: LocalWeightsStore) -> None:
    """Take from all facts which file they are about, as earlier versions wrote them."""
    for file in store.filesystem.find_files("run"):
        path = f"run/{file.name}"
        if path.endswith(".json"):
            fact = json.loads(store.filesystem.read_bytes(path))
            for added in ("of", "modified", "file_version"):
                fact.pop(added, None)
            store.filesystem.write_bytes(path, json.dumps(fact).encode())


def test_an_iteration_that_is_stored_again_begins_without_scores(
    store: LocalWeightsStore, fill: Fill, run: Any, open_store: Any
) -> None:
    fill(100, 200, dice={100: 0.9, 200: 0.5})
    store.derive_best("run")
    store.store_weights(run, 100)
    for each in (store, open_store()):
        assert [record.iteration for record in each.scores("run")] == [200]
        assert best_of(each) == {JUDGED: 200}
        assert each.retrieve_best("run", *JUDGED) == 200
        assert each.derive_best("run") == {}
    assert store.history("run").checkpoints[100].scores == {}
    assert store.history("run").checkpoints[100].best_for == []
    told = events(store, 100)
    assert "scored on val dice: Dice 0.9 (the one before)" in told
    assert told[-1] == "stored"
    fill(dice={100: 0.95})
    assert store.derive_best("run")[JUDGED].iteration == 100
    assert "scored on val dice: Dice 0.95" in events(store, 100)


def test_a_checkpoint_stored_after_a_prune_begins_without_scores(
    store: LocalWeightsStore, fill: Fill, run: Any, open_store: Any
) -> None:
    fill(100, 200, 300, dice={100: 0.9, 200: 0.5})
    store.prune("run", RetentionPolicy(keep_last=2))
    assert store.iterations("run") == [200, 300]
    open_store().store_weights(run, 100)
    store.derive_best("run")
    assert store.retrieve_best("run", *JUDGED) == 200
    plan = store.prune("run", RetentionPolicy(keep_best=2), dry_run=True)
    assert "no score of val_dice/dice" in plan.pruned[100]
    told = events(store, 100)
    assert told[0] == "stored (the one before)"
    assert "pruned (the one before)" in told
    assert "scored on val dice: Dice 0.9 (the one before)" in told


def test_the_only_best_goes_with_its_checkpoint(
    store: LocalWeightsStore, fill: Fill, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fill(100, 200)
    store.store_best("run", 100, "val", "dice", score=0.9)
    store.store_weights(run, 100)
    assert "was the best by Dice on val, this one has no scores yet" in caplog.text
    with pytest.raises(FileNotFoundError, match="no best of dataset 'val'"):
        store.retrieve_best("run", "val", "dice")
    plan = store.prune("run", RetentionPolicy(keep_last=1))
    assert plan.pruned.keys() == {100}


def test_a_pin_is_of_the_checkpoint_that_was_pinned(
    store: LocalWeightsStore, fill: Fill, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fill(100, 200)
    store.pin("run", 100, why="for the paper", by="ann")
    store.pin("run", 100, child="other")
    store.store_weights(run, 100)
    assert "pinned: for the paper" in caplog.text
    assert store.pins("run") == {}
    assert "pinned: for the paper (the one before)" in events(store, 100)
    assert store.prune("run", RetentionPolicy(keep_last=1)).pruned.keys() == {100}


def test_a_pin_is_of_the_checkpoint_that_is_there_when_it_returns(
    store: LocalWeightsStore,
    fill: Fill,
    run: Any,
    open_store: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process stores the iteration again while it is pinned."""
    fill(100, 200)
    write = store.filesystem.write_bytes

    def interfere(path: str, *arguments: Any, **options: Any) -> None:
        if path == "run/records/pins/100.json":
            monkeypatch.undo()
            open_store().store_weights(run, 100)
        write(path, *arguments, **options)

    monkeypatch.setattr(store.filesystem, "write_bytes", interfere)
    store.pin("run", 100, why="for the paper")
    assert store.pins("run").keys() == {100}
    assert not store.prune("run", RetentionPolicy(keep_last=1)).pruned


def test_what_is_said_of_a_checkpoint_while_it_is_replaced_stays_with_it(
    store: LocalWeightsStore,
    fill: Fill,
    run: Any,
    open_store: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from dacapo_core.store import checkpoint_commit

    fill(100, 200)
    commit = checkpoint_commit.commit_checkpoint

    def interfere(*arguments: Any) -> Any:
        open_store().pin("run", 100, why="for the paper")
        open_store().store_best("run", 100, "val", "dice")
        return commit(*arguments)

    monkeypatch.setattr(checkpoint_commit, "commit_checkpoint", interfere)
    store.store_weights(run, 100)
    assert "the checkpoint before was pinned: for the paper, this one is not" in caplog.text
    assert not list(store.filesystem.file_names("run/records/pins"))
    assert store.best_records("run") == {}
    assert "pinned: for the paper (the one before)" in events(store, 100)


@pytest.mark.parametrize("act", ["prune", "remove"])
def test_what_is_said_of_a_replaced_checkpoint_is_not_left_when_the_new_one_is_deleted(
    store: LocalWeightsStore,
    fill: Fill,
    run: Any,
    open_store: Any,
    monkeypatch: pytest.MonkeyPatch,
    act: str,
) -> None:
    """By another process, before the one that stores has told the history of it."""
    from dacapo_core.store import checkpoint_commit

    fill(100, 200)
    store.pin("run", 100, why="for the paper")
    store.store_best("run", 100, "val", "dice")

    def interfere(*arguments: Any) -> None:
        other = open_store()
        if act == "prune":
            assert other.prune("run", RetentionPolicy(keep_last=1)).pruned.keys() == {100}
        else:
            other.remove("run", 100, force=True)

    monkeypatch.setattr(checkpoint_commit, "delete_stale_flags", interfere)
    store.store_weights(run, 100)
    assert store.iterations("run") == [200]
    assert store.pins("run") == {}
    assert store.best_records("run") == {}
    assert "pinned: for the paper" in " ".join(events(store, 100))


def test_a_restored_checkpoint_is_pinned_where_only_the_one_before_was(
    store: LocalWeightsStore,
    fill: Fill,
    run: Any,
    open_store: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dacapo_core.store import checkpoint_commit

    fill(100, 200)
    store.pin("run", 100)

    def interfere(*arguments: Any) -> None:
        policy = RetentionPolicy(keep_last=1, grace="7d")
        assert open_store().prune("run", policy).pruned.keys() == {100}
        assert open_store().restore("run", 100)

    monkeypatch.setattr(checkpoint_commit, "delete_stale_flags", interfere)
    store.store_weights(run, 100)
    assert store.pins("run").keys() == {100}
    assert not store.prune("run", RetentionPolicy(keep_last=1)).pruned


@pytest.mark.parametrize("step", ["commit", "delete_stale_flags", "withdraw_facts"])
def test_facts_of_a_store_of_before_are_not_taken_over_by_the_new_checkpoint(
    store: LocalWeightsStore,
    fill: Fill,
    run: Any,
    open_store: Any,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """Also where the process is killed between the checkpoint and the rest."""
    from dacapo_core.store import checkpoint_commit

    fill(100, 200, dice={100: 0.9, 200: 0.5})
    store.pin("run", 100)
    store.derive_best("run")
    by_iteration_alone(store)
    old = open_store()
    assert best_of(old) == {JUDGED: 100}
    assert old.pins("run").keys() == {100}
    assert [record.iteration for record in old.scores("run")] == [100, 200]

    class Killed(BaseException):
        pass

    def kill(*args: Any, **options: Any) -> None:
        raise Killed

    if step == "commit":
        old.store_weights(run, 100)
    else:
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint_commit, step, kill)
            with pytest.raises(Killed):
                old.store_weights(run, 100)
    for each in (old, open_store()):
        assert best_of(each).get(JUDGED) != 100
        assert each.pins("run") == {}
        assert [record.iteration for record in each.scores("run")] == [200]
        assert each.history("run").checkpoints[100].scores == {}
        assert "scored on val dice: Dice 0.9 (the one before)" in events(each, 100)
    open_store().derive_best("run")
    assert open_store().retrieve_best("run", *JUDGED) == 200
    assert "latest" not in open_store().history("run").checkpoints[100].reasons


def test_killed_between_checkpoint_and_record(
    store: LocalWeightsStore, fill: Fill, run: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of before is still there, and speaks of another file."""
    from dacapo_core.store import checkpoint_files

    fill(100, 200, dice={100: 0.9, 200: 0.5})
    store.derive_best("run")

    class Killed(BaseException):
        pass

    def kill(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_files, "write_record", kill)
        with pytest.raises(Killed):
            store.store_weights(run, 100)
    store = open_store()
    assert best_of(store) == {}
    with pytest.raises(MissingCheckpointError, match="was replaced"):
        store.retrieve_best("run", *JUDGED)
    store.derive_best("run")
    assert best_of(store) == {JUDGED: 200}


def test_scores_of_bytes_that_were_replaced_meanwhile_count_for_nothing(
    store: LocalWeightsStore, fill: Fill, run: Any, open_store: Any
) -> None:
    fill(100, 200, dice={200: 0.5})
    validator: LocalWeightsStore = open_store()
    for load in (validator.retrieve_weights, validator.retrieve_model):
        load("run", 100)
        store.store_weights(run, 100)
        write_score(validator, 100, 0.99)
        assert [record.iteration for record in validator.scores("run")] == [200]
        validator.derive_best("run")
        assert validator.retrieve_best("run", *JUDGED) == 200
    assert "scored on val dice: Dice 0.99 (the one before)" in events(store, 100)
    validator.retrieve_model("run", 100)
    write_score(validator, 100, 0.7)
    store.derive_best("run")
    assert store.retrieve_best("run", *JUDGED) == 100


def test_scores_that_arrive_late_do_not_overwrite_those_of_the_new_one(
    store: LocalWeightsStore, fill: Fill, run: Any, open_store: Any
) -> None:
    fill(100)
    validator: LocalWeightsStore = open_store()
    validator.retrieve_model("run", 100)
    store.store_weights(run, 100)
    write_score(store, 100, 0.6)
    write_score(validator, 100, 0.99)
    (record,) = store.scores("run")
    assert record.entries[0].scores == {"dice": 0.6}


def test_a_restored_checkpoint_keeps_what_was_said_of_it(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200, 300, dice={100: 0.9})
    store.prune("run", RetentionPolicy(keep_last=1, grace="7d"))
    assert store.restore("run", 200)
    assert store.restore("run", 100)
    store.derive_best("run")
    assert store.retrieve_best("run", *JUDGED) == 100
    assert not [said for said in events(store, 100) if "the one before" in said]


def test_a_store_that_was_moved_keeps_all_facts(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither times nor inodes survive; the nonces are in the files."""
    store = LocalWeightsStore(tmp_path / "old")
    for iteration in (100, 200):
        store.store_weights(run, iteration)
        write_score(store, iteration, iteration / 1000)
    store.derive_best("run")
    store.pin("run", 100, why="kept")
    for copy in (shutil.copy, shutil.copy2):
        shutil.copytree(
            tmp_path / "old", tmp_path / copy.__name__, symlinks=True, copy_function=copy
        )
        moved = LocalWeightsStore(tmp_path / copy.__name__)
        assert best_of(moved) == {JUDGED: 200}
        assert moved.retrieve_best("run", *JUDGED) == 200
        assert moved.pins("run").keys() == {100}
        assert len(moved.scores("run")) == 2
        moved.store_weights(run, 200)
        assert best_of(moved) == {JUDGED: 100}


def test_dacapo_stores_over_a_checkpoint_of_ours(tmp_path: Path, run: Any) -> None:
    store = LocalWeightsStore(tmp_path)
    for iteration in (100, 200):
        store.store_weights(run, iteration)
        write_score(store, iteration, 1 - iteration / 1000)
    store.derive_best("run")
    path = tmp_path / "run/checkpoints/iterations/100"
    save_as_dacapo(run, path)
    store = LocalWeightsStore(tmp_path)
    assert best_of(store) == {}
    assert [record.iteration for record in store.scores("run")] == [200]
    store.derive_best("run")
    assert best_of(store) == {JUDGED: 200}
    # and moves its own record there
    (tmp_path / "run/checkpoints/val_dice/dice.json").write_text('{"iteration": 100}')
    assert best_of(store) == {JUDGED: 100}


def test_facts_about_dacapos_checkpoints_go_by_iteration(tmp_path: Path, run: Any) -> None:
    path = tmp_path / "run/checkpoints/iterations/100"
    save_as_dacapo(run, path)
    store = LocalWeightsStore(tmp_path)
    write_score(store, 100, 0.9)
    store.derive_best("run")
    store.pin("run", 100)
    save_as_dacapo(run, path)
    store = LocalWeightsStore(tmp_path)
    assert best_of(store) == {JUDGED: 100}
    assert store.pins("run").keys() == {100}
    assert len(store.scores("run")) == 1
    store.store_weights(run, 100)
    assert best_of(store) == {}
    assert store.pins("run") == {}
    assert store.scores("run") == []
    assert not os.path.lexists(tmp_path / "run/checkpoints/val_dice/dice")


def test_dacapos_best_is_of_the_checkpoint_that_it_named(tmp_path: Path, run: Any) -> None:
    save_as_dacapo(run, tmp_path / "run/checkpoints/iterations/100")
    record = tmp_path / "run/checkpoints/val/dice.json"
    record.parent.mkdir()
    record.write_text('{"iteration": 100}')
    store = LocalWeightsStore(tmp_path)
    assert best_of(store) == {("val", "dice"): 100}
    store.store_weights(run, 100)
    assert best_of(store) == {}
    assert not record.exists()
    assert "replaced: the iteration was stored again" in events(store, 100)


def test_a_mark_and_a_finding_are_of_their_file(
    store: LocalWeightsStore, fill: Fill, run: Any, open_store: Any
) -> None:
    from dacapo_core.store.records.verification_records import note_verification

    fill(100, 200, 300)
    store.prune("run", RetentionPolicy(keep_last=1, grace="7d"))
    file = store.filesystem.file_info("run/checkpoints/iterations/200")
    note_verification(store.filesystem, "run", 200, file, "said for the test")
    marks = {i: store.filesystem.read_bytes(f"run/records/marked/{i}.json") for i in (100, 200)}
    damage = store.filesystem.read_bytes("run/records/damaged/200.json")
    for iteration in (100, 200):
        store.store_weights(run, iteration)
        # as a pruner and a verifier leave them that had listed the file of before
        store.filesystem.write_bytes(f"run/records/marked/{iteration}.json", marks[iteration])
    store.filesystem.write_bytes("run/records/damaged/200.json", damage)
    found = open_store().history("run").checkpoints
    assert {i: found[i].fate for i in (100, 200)} == {100: "kept", 200: "kept"}
    assert found[200].damaged is None


def test_a_policy_asks_for_no_nonces(
    store: LocalWeightsStore, fill: Fill, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(100, 200, 300, dice={100: 0.9, 200: 0.5, 300: 0.1})
    store.derive_best("run")
    store.pin("run", 200)
    other: LocalWeightsStore = open_store()
    read: list[str] = []
    read_many = type(other.filesystem).read_many

    def reading(self: Any, paths: Any) -> Any:
        wanted = list(paths)
        read.extend(wanted)
        return read_many(self, wanted)

    monkeypatch.setattr(type(other.filesystem), "read_many", reading)
    from dacapo_core.store.pruning import run_inventory
    from dacapo_core.store.records import scores_records
    from dacapo_core.store.records.checkpoint_flags import read_flags

    there = run_inventory.list_checkpoints(
        other.filesystem, "run", read_flags(other.filesystem, "run")
    )
    scores_records.read_scores(other.filesystem, "run", there)
    from datetime import UTC, datetime

    run_inventory.take_inventory(other.filesystem, "run", datetime.now(UTC), there)
    assert read
    assert not [path for path in read if "records/checkpoints" in path]


def test_resuming_keeps_what_was_withdrawn_in_the_history(
    store: LocalWeightsStore, fill: Fill, run: Any
) -> None:
    fill(100, 200, 300, dice={100: 0.5, 300: 0.9})
    store.derive_best("run")
    store.withdraw_after("run", 200)
    told = events(store, 300)
    assert "scored on val dice: Dice 0.9" in told
    assert "scores withdrawn: training resumed before it" in told


def write_score(store: LocalWeightsStore, iteration: int, score: float) -> None:
    record = ScoresRecord.model_validate(
        {
            "iteration": iteration,
            "dataset": "val_dice",
            "criteria": {"dice": True},
            "entries": [{"parameters": {}, "scores": {"dice": score}}],
        }
    )
    store.store_scores("run", iteration, "val_dice", record)


def save_as_dacapo(run: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time.sleep(0.01)
    torch.save({"model": run.model.state_dict(), "optimizer": run.optimizer.state_dict()}, path)

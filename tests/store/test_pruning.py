"""Pruning, marking, restoring and sweeping on each backend, and what can come in between."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from dacapo_core.store.errors import (
    DamagedRecordError,
    ProtectedCheckpointError,
    RestoreError,
    RetentionError,
    StoreError,
    StoreNotWritableError,
    SweepError,
)
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.pruning import deletion
from dacapo_core.store.retention import RetentionPolicy

Fill = Callable[..., None]
OpenStore = Callable[[], LocalWeightsStore]
LAST = RetentionPolicy(keep_last=1)


def records_of(store: LocalWeightsStore) -> set[int]:
    names = store.filesystem.file_names("run/records/checkpoints")
    return {int(name.removesuffix(".json")) for name in names}


def operations(store: LocalWeightsStore) -> list[dict[str, Any]]:
    folder = "run/records/pruned"
    names = sorted(store.filesystem.file_names(folder))
    return [json.loads(store.filesystem.read_bytes(f"{folder}/{name}")) for name in names]


def test_the_dry_run_is_what_the_real_run_does(
    store: LocalWeightsStore, fill: Fill, open_store: Any
) -> None:
    fill(100, 200, 300, 400, 500, dice={100: 0.9, 200: 0.3, 300: 0.5})
    store.derive_best("run")
    store.pin("run", 200, why="for the paper")
    policy = RetentionPolicy(keep_last=1, keep_best=2)
    before = sorted(file.name for file in store.filesystem.find_files("run"))
    dry = store.prune("run", policy, dry_run=True)
    assert sorted(file.name for file in store.filesystem.find_files("run")) == before
    real = store.prune("run", policy, by="flow run brave-bee")
    assert (dry.kept, dry.pruned, dry.bytes_freed) == (real.kept, real.pruned, real.bytes_freed)
    assert list(real.kept) == open_store().iterations("run") == [100, 200, 300, 500]
    assert "pinned: for the paper" in real.kept[200]
    assert "best of val_dice/dice" in real.kept[100]
    assert list(real.pruned) == [400]
    assert records_of(store) == {100, 200, 300, 500}
    assert store.retrieve_best("run", "val_dice", "dice") == 100
    store.retrieve_weights("run", 100)

    again = store.prune("run", policy)
    assert again.pruned == {}
    assert len(operations(store)) == 1, "an operation that does nothing is not on record"


def test_what_was_pruned_stays_on_record(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200, dice={100: 0.25, 200: 0.5})
    said = store.filesystem.read_bytes("run/records/checkpoints/100.json").decode()
    plan = store.prune("run", RetentionPolicy(keep_best=1), by="flow run brave-bee")
    (record,) = operations(store)
    gone = record["iterations"]["100"]
    assert record["kind"] == "prune"
    assert record["by"] == "flow run brave-bee"
    assert record["operation"] == plan.operation
    assert record["policy"] == {"keep_best": 1}
    assert gone["record"] == said
    assert gone["bytes"] == json.loads(said)["bytes"]
    assert gone["scores"] == {"val_dice/dice": 0.25}
    assert gone["reasons"] == ["not among the best 1 of val_dice/dice (place 2, 0.25)"]
    assert store.filesystem.file_names("run/records/pruning") is not None
    assert list(store.filesystem.file_names("run/records/pruning")) == []

    history = store.history("run").checkpoints[100]
    assert history.fate == "pruned"
    answer = history.answer("run")
    assert "by flow run brave-bee" in answer
    assert "not among the best 1 of val_dice/dice" in answer
    assert "cannot be brought back" in answer
    with pytest.raises(RestoreError, match=r"deleted \(prune\) on .* by flow run brave-bee: not"):
        store.restore("run", 100)


def test_pinned_pending_and_started_from_are_never_pruned_and_the_plan_says_so(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200, 300, 400, 500)
    store.pin("run", 100)
    store.pin("run", 200, child="finetuned")
    store.request_validation("run", 300, within=timedelta(hours=1))
    store.request_validation("run", 400, within=timedelta(seconds=-1))
    plan = store.prune("run", LAST)
    assert plan.kept[100] == ["pinned"]
    assert plan.kept[200] == ["start of run finetuned, pinned by it"]
    assert plan.kept[300][0].startswith("waiting for its validation until")
    assert list(plan.pruned) == [400], "a request that has expired protects nothing"
    assert store.pins("run").keys() == {100, 200}
    assert store.pending("run") == [300]

    store.unpin("run", 200, child="finetuned")
    with pytest.raises(FileNotFoundError, match="is not pinned"):
        store.unpin("run", 200)
    fill(dice={300: 0.5})
    assert list(store.prune("run", LAST).pruned) == [200]
    assert 300 in store.iterations("run"), "what is judged may be about to become the best"
    store.end_validation("run", 300)
    assert list(store.prune("run", LAST).pruned) == [300], "it waits no more"
    with pytest.raises(FileNotFoundError, match="no checkpoint of iteration 200"):
        store.pin("run", 200)
    assert store.pins("run").keys() == {100}


def test_a_published_start_is_never_pruned(store: LocalWeightsStore, run: Any) -> None:
    run.name = "setup26.1"
    for iteration in (1, 2, 3):
        store.store_weights(run, iteration)
    plan = store.prune("setup26.1", LAST)
    assert plan.kept[1] == ["a published start"]
    assert plan.pruned == {}


def test_remove_is_refused_for_what_is_named_unless_forced(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200)
    store.store_best("run", 100, "val", "dice")
    store.pin("run", 100)
    with pytest.raises(ProtectedCheckpointError, match="is best of val/dice, pinned"):
        store.remove("run", 100)
    assert store.retrieve_best("run", "val", "dice") == 100
    store.remove("run", 100, force=True)
    with pytest.raises(FileNotFoundError):
        store.retrieve_best("run", "val", "dice")
    assert store.best_records("run") == {}
    assert store.pins("run") == {}
    store.remove("run", 200)
    assert store.iterations("run") == []
    with pytest.raises(FileNotFoundError):
        store.remove("run", 200)
    assert [record["kind"] for record in operations(store)] == ["remove", "remove"]


# damage and doubt


def test_a_damaged_newest_counts_toward_nothing(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200, 300)
    path = "run/checkpoints/iterations/300"
    content = bytearray(store.filesystem.read_bytes(path))
    content[len(content) // 2] ^= 0xFF
    store.filesystem.write_bytes(path, bytes(content))
    dry = store.prune("run", LAST, dry_run=True)
    plan = store.prune("run", LAST)
    assert dry.kept == plan.kept
    assert plan.kept[200] == ["latest", "among the last 1"]
    assert store.iterations("run") == [200, 300]
    assert store.history("run").checkpoints[300].damaged
    assert store.latest_iteration("run", verified=True) == 200


def test_what_this_store_has_just_written_is_not_read_back_to_prune(
    open_store: OpenStore, store: LocalWeightsStore, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[int] = []
    verify = LocalWeightsStore.verify

    def noted(self: LocalWeightsStore, run: str, iteration: int) -> Any:
        verified.append(iteration)
        return verify(self, run, iteration)

    monkeypatch.setattr(LocalWeightsStore, "verify", noted)
    fill(100, 200)
    store.prune("run", LAST)
    # times on other backends are too coarse to say that nothing has changed
    known = store.filesystem.is_local
    assert verified == ([] if known else [200])
    verified.clear()
    fill(300)
    open_store().prune("run", LAST)
    assert verified == [300], "another process has only the file"


def test_a_damaged_checkpoint_makes_no_best(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200, dice={100: 0.5, 200: 0.9})
    store.filesystem.write_bytes("run/checkpoints/iterations/200", b"")
    assert store.derive_best("run")["val_dice", "dice"].iteration == 100


def test_what_others_deleted_is_not_said_to_be_pruned(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200)
    store.prune("run", RetentionPolicy(keep_last=1, grace=timedelta(hours=1)))
    store.filesystem.delete(["run/checkpoints/iterations/100"])
    answer = store.history("run").checkpoints[100].answer("run")
    assert "deleted at an unknown time: not by this software" in answer


def test_nothing_is_pruned_when_nothing_verifies(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200, 300)
    for iteration in (100, 200, 300):
        path = f"run/checkpoints/iterations/{iteration}"
        store.filesystem.write_bytes(path, store.filesystem.read_bytes(path)[:-100])
    with pytest.raises(RetentionError, match="no checkpoint of run 'run' verifies"):
        store.prune("run", LAST)
    assert store.iterations("run") == [100, 200, 300]


def test_damaged_records_are_doubt_and_nothing_goes_on_doubt(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200, 300, 400, dice={100: 0.1, 200: 0.2, 300: 0.3})
    write = store.filesystem.write_bytes
    write("run/records/scores/100/val_dice.json", b"{")
    write("run/records/checkpoints/200.json", b"\x00\x00")
    plan = store.prune("run", RetentionPolicy(keep_best=1))
    assert plan.kept[100][0].startswith("its scores cannot be read")
    assert "its record" in plan.failed[200]
    assert plan.pruned == {}
    write("run/records/pins/300.json", b"")
    write("run/val/dice.json", b"not json")
    with pytest.raises(DamagedRecordError, match=r"val/dice\.json"):
        store.prune("run", LAST)
    assert store.iterations("run") == [100, 200, 300, 400]
    store.filesystem.delete(["run/val/dice.json"])
    assert store.prune("run", LAST).kept[300] == ["pinned"]


@pytest.mark.parametrize("content", [b"{", b"", b"null", b"[]", b"{}", b'{"iteration": "x"}'])
@pytest.mark.parametrize("grace", [None, "7d"])
def test_a_damaged_checkpoint_record_keeps_its_checkpoint(
    store: LocalWeightsStore, fill: Fill, content: bytes, grace: str | None
) -> None:
    fill(100, 200, 300)
    store.filesystem.write_bytes("run/records/checkpoints/100.json", content)
    policy = RetentionPolicy(keep_last=1, grace=grace)
    dry = store.prune("run", policy, dry_run=True)
    real = store.prune("run", policy)
    assert "nothing is deleted on doubt" in real.failed[100]
    assert list(real.kept) == [100, 300]
    assert list(real.pruned) == [200]
    assert store.history("run").checkpoints[100].fate == "kept"
    if store.filesystem.is_local:
        assert (dry.kept, dry.pruned, dry.failed) == (real.kept, real.pruned, real.failed)
    else:
        assert "records are read when this is carried out" in dry.notes[0]


def test_history_answers_while_a_best_record_is_damaged(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200)
    store.store_best("run", 100, "val", "voi")
    store.filesystem.write_bytes("run/val/dice.json", b"{")
    history = store.history("run")
    assert list(history.checkpoints[100].best_for) == ["val/voi"]
    (damaged,) = history.damaged_records
    assert "run/val/dice.json is not a best record" in damaged


def test_a_policy_that_does_not_fit_deletes_nothing(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200, dice={100: 0.1})
    for policy, message in (
        (RetentionPolicy(keep_best=1, criteria=["dise"]), "'dise'"),
        (RetentionPolicy(keep_best=1, criteria=["val/voi"]), "'val/voi'"),
        (RetentionPolicy(pins=[7], keep_every=1000), "keep_every 1000, pins .* of run 'run'"),
        (RetentionPolicy(max_total_size=200), "max_total_size is 200B.*latest checkpoint, 200"),
    ):
        with pytest.raises(RetentionError, match=message):
            store.prune("run", policy)
    with pytest.raises(FileNotFoundError, match="no run 'other'"):
        store.prune("other", LAST)
    assert store.iterations("run") == [100, 200]


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_a_store_that_is_read_only_is_said_and_untouched(run: Any) -> None:
    # pytest's own folders are closed to others
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        store = LocalWeightsStore(folder)
        for iteration in (50, 100, 200):
            store.store_weights(run, iteration)
        store.prune("run", RetentionPolicy(keep_last=1, grace="7d", pins=[50]))
        before = sorted(Path(folder).rglob("*"))
        with read_only(Path(folder)):
            assert list(store.prune("run", LAST, dry_run=True).pruned) == [50, 100]
            with pytest.raises(StoreError, match="cannot write"):
                store.prune("run", LAST)
            with pytest.raises(StoreNotWritableError, match=r"cannot write .*marked/100\.json"):
                store.restore("run", 100)
        assert sorted(Path(folder).rglob("*")) == before


# what changes between the plan and the act


def test_what_becomes_protected_after_the_plan_is_spared(
    store: LocalWeightsStore, fill: Fill, open_store: Any, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    """Another process moves the best and stores again just after the plan is made."""
    fill(100, 200, 300, 400)
    write_intent = deletion.write_intent
    other = open_store()

    def interfere(*args: Any) -> None:
        other.filesystem.write_bytes("run/val/dice.json", b'{"iteration": 100}')
        other.store_weights(run, 200)
        write_intent(*args)

    monkeypatch.setattr(deletion, "write_intent", interfere)
    plan = store.prune("run", LAST)
    assert plan.kept[100] == ["best of val/dice"]
    assert plan.kept[200] == ["stored again since the plan was made"]
    assert list(plan.pruned) == [300]
    assert store.iterations("run") == [100, 200, 400]
    assert list(operations(store)[0]["iterations"]) == ["300"]


def test_a_best_stored_while_its_checkpoint_is_pruned_is_refused_or_holds(
    store: LocalWeightsStore, fill: Fill, open_store: Any
) -> None:
    for _ in range(3):
        fill(100, 200, 300)
        other, outcome = open_store(), []

        def move(other: LocalWeightsStore = other, outcome: list[str] = outcome) -> None:
            try:
                other.store_best("run", 100, "val", "dice")
                outcome.append("stored")
            except FileNotFoundError:
                outcome.append("refused")

        thread = threading.Thread(target=move)
        thread.start()
        store.prune("run", LAST)
        thread.join()
        if outcome == ["stored"]:
            assert store.retrieve_best("run", "val", "dice") == 100
            store.remove("run", 100, force=True)
        else:
            assert store.best_records("run") == {}
            assert 100 not in store.iterations("run")


def test_an_interrupted_prune_is_finished_by_the_next(
    store: LocalWeightsStore, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill: the intent is there, one checkpoint gone, one record gone."""
    fill(100, 200, 300)
    monkeypatch.setattr(deletion, "end_intent", lambda *_: None)
    monkeypatch.setattr(deletion, "write_operation", lambda *_: None)
    store.prune("run", RetentionPolicy(keep_last=2), by="the killed one")
    (name,) = store.filesystem.file_names("run/records/pruning")
    intent = json.loads(store.filesystem.read_bytes(f"run/records/pruning/{name}"))
    intent["process"]["started"] = 1  # a process that is gone
    said = store.filesystem.read_bytes("run/records/checkpoints/200.json").decode()
    intent["record"]["iterations"]["200"] = {"reasons": ["not yet"], "record": said}
    store.filesystem.write_bytes(f"run/records/pruning/{name}", json.dumps(intent).encode())
    store.filesystem.delete(["run/records/checkpoints/200.json"])
    monkeypatch.undo()

    assert "the killed one" in store.history("run").checkpoints[100].answer("run")
    store.sweep("run")
    (record,) = operations(store)
    assert (record["by"], record["interrupted"]) == ("the killed one", True)
    assert list(record["iterations"]) == ["100"]
    assert records_of(store) == {200, 300}
    assert list(store.filesystem.file_names("run/records/pruning")) == []


def test_a_failed_delete_is_reported_and_the_rest_goes_on(
    store: LocalWeightsStore, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is injected: no backend here refuses one object of many."""
    fill(100, 200, 300)
    delete = store.filesystem.delete

    def failing(paths: Any) -> dict[str, Exception]:
        wanted = list(paths)
        path = "run/checkpoints/iterations/100"
        failed: dict[str, Exception] = {path: OSError("denied")} if path in wanted else {}
        return failed | delete([other for other in wanted if other not in failed])

    monkeypatch.setattr(store.filesystem, "delete", failing)
    plan = store.prune("run", LAST)
    assert "denied" in plan.failed[100]
    assert plan.kept[100][0].startswith("could not be pruned")
    assert list(plan.pruned) == [200]
    assert store.iterations("run") == [100, 300]
    assert records_of(store) == {100, 300}, "its record was put back"
    store.verify("run", 100)
    assert list(operations(store)[0]["iterations"]) == ["200"]


def test_sweep_removes_records_without_a_checkpoint(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200)
    store.request_validation("run", 200, within=timedelta(seconds=-1))
    store.filesystem.delete(["run/checkpoints/iterations/100"])
    swept = store.sweep("run")["run"]
    assert set(swept.left_overs) == {
        "run/records/checkpoints/100.json",
        "run/records/pending/200.json",
    }
    assert records_of(store) == {200}


def test_one_run_that_cannot_be_swept_does_not_stop_the_others(
    store: LocalWeightsStore, run: Any
) -> None:
    for run.name in ("a", "b", "c"):
        for iteration in (100, 200):
            store.store_weights(run, iteration)
        store.prune(run.name, RetentionPolicy(keep_last=1, grace=timedelta(milliseconds=1)))
    store.filesystem.write_bytes("b/val/dice.json", b"{")
    with pytest.raises(SweepError, match=r"1 runs could not be swept, 2 were: b: .*dice\.json"):
        store.sweep()
    assert [store.iterations(name) for name in "abc"] == [[200], [100, 200], [200]]
    for act in (store.sweep, store.pins, lambda name: store.restore(name, 5)):
        with pytest.raises(FileNotFoundError, match="there is no run 'nope'"):
            act("nope")


# how much is asked of the store


@pytest.mark.s3
@pytest.mark.slow
def test_a_plan_takes_no_request_per_checkpoint(
    s3_server: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    requests: list[str] = []
    call = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: Any, *args: Any, **options: Any) -> Any:
        requests.append(str(method))
        return await call(self, method, *args, **options)

    counts = []
    for checkpoints in (5, 40):
        store = LocalWeightsStore(f"{s3_server.new_folder()}/s", s3_server.storage_options)
        store.store_weights(run, 0)
        content = store.filesystem.read_bytes("run/checkpoints/iterations/0")
        for iteration in range(1, checkpoints):
            store.filesystem.write_bytes(f"run/checkpoints/iterations/{iteration}", content)
        requests.clear()
        with monkeypatch.context() as patched:
            patched.setattr(s3fs.S3FileSystem, "_call_s3", counted)
            plan = store.prune("run", LAST, dry_run=True)
        assert len(plan.pruned) == checkpoints - 1
        counts.append(len(requests))
    assert counts[0] > 0
    assert counts[0] == counts[1]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Without the right to write below a folder: as nobody where this is root."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
        return
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for each in folders:
        each.chmod(0o555)
    try:
        yield
    finally:
        for each in folders:
            each.chmod(0o755)


def test_ages_come_from_the_files(tmp_path: Path, run: Any) -> None:
    store = LocalWeightsStore(tmp_path)
    for iteration, days in ((100, 10), (200, 5), (300, 0)):
        store.store_weights(run, iteration)
        when = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        os.utime(tmp_path / f"run/checkpoints/iterations/{iteration}", (when, when))
    plan = store.prune("run", RetentionPolicy(minimum_age="7d"))
    assert store.iterations("run") == [200, 300]
    assert plan.pruned[100] == ["older than 7 days"]

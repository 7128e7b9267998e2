"""Pruning on each backend: what goes, what stays, and what is put on record."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.errors import (
    ProtectedCheckpointError,
    RestoreError,
)
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from tests.store.records_of_a_store import operations, records_of

Fill = Callable[..., None]
OpenStore = Callable[[], LocalWeightsStore]
LAST = RetentionPolicy(keep_last=1)


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
    assert "not among the best 1 by Dice on val dice" in answer
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
    with pytest.raises(ProtectedCheckpointError, match="is best by Dice on val, pinned"):
        store.remove("run", 100)
    assert store.retrieve_best("run", "val", "dice") == 100
    store.remove("run", 100, force=True)
    with pytest.raises(FileNotFoundError):
        store.retrieve_best("run", "val", "dice")
    assert store.best_records("run") == {}
    assert store.pins("run") == {}
    store.remove("run", 200, force=True)
    assert store.iterations("run") == []
    with pytest.raises(FileNotFoundError):
        store.remove("run", 200)
    assert [record["kind"] for record in operations(store)] == ["remove", "remove"]


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


def test_what_others_deleted_is_not_said_to_be_pruned(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200)
    store.prune("run", RetentionPolicy(keep_last=1, grace=timedelta(hours=1)))
    store.filesystem.delete(["run/checkpoints/iterations/100"])
    answer = store.history("run").checkpoints[100].answer("run")
    assert "deleted at an unknown time: not by this software" in answer


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


def test_ages_come_from_the_files(tmp_path: Path, run: Any) -> None:
    store = LocalWeightsStore(tmp_path)
    for iteration, days in ((100, 10), (200, 5), (300, 0)):
        store.store_weights(run, iteration)
        when = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        os.utime(tmp_path / f"run/checkpoints/iterations/{iteration}", (when, when))
    plan = store.prune("run", RetentionPolicy(minimum_age="7d"))
    assert store.iterations("run") == [200, 300]
    assert plan.pruned[100] == ["older than 7 days"]

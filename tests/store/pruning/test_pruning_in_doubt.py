"""Nothing is deleted on doubt: damaged checkpoints and records, bad policies, closed stores."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from dacapo_core.store.errors import (
    DamagedRecordError,
    RetentionError,
    StoreError,
    StoreNotWritableError,
)
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy

Fill = Callable[..., None]
LAST = RetentionPolicy(keep_last=1)


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


def test_a_damaged_checkpoint_makes_no_best(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200, dice={100: 0.5, 200: 0.9})
    store.filesystem.write_bytes("run/checkpoints/iterations/200", b"")
    assert store.derive_best("run")["val_dice", "dice"].iteration == 100


def test_stored_again_while_it_was_verified_is_no_damage(
    store: LocalWeightsStore, fill: Fill, open_store: Any, run: Any, monkeypatch: Any
) -> None:
    fill(100, 200, 300)
    path = "run/checkpoints/iterations/300"
    store.filesystem.write_bytes(path, store.filesystem.read_bytes(path)[:-100])
    pruner: LocalWeightsStore = open_store()
    verify, stored = pruner.verify, list[int]()

    def slowly(name: str, iteration: int) -> None:
        try:
            verify(name, iteration)
        finally:
            if not stored:
                stored.append(iteration)
                store.store_weights(run, iteration)

    monkeypatch.setattr(pruner, "verify", slowly)
    assert list(pruner.prune("run", LAST).kept) == stored == [300]
    assert store.history("run").checkpoints[300].damaged is None
    fill(400)
    assert list(open_store().prune("run", RetentionPolicy(keep_last=2)).kept) == [300, 400]


def test_a_checkpoint_that_asks_for_code_is_not_known_to_be_damaged(
    store: LocalWeightsStore, fill: Fill
) -> None:
    def save(iteration: int) -> None:
        buffer = io.BytesIO()
        torch.save({"model": {"w": torch.ones(2)}, "optimizer": {"x": print}}, buffer)
        store.filesystem.write_bytes(f"run/checkpoints/iterations/{iteration}", buffer.getvalue())

    save(100)
    save(200)
    assert list(store.prune("run", LAST).kept) == [100, 200]
    fill(150)
    for dry_run in (True, False):
        plan = store.prune("run", LAST, dry_run=dry_run)
        assert list(plan.pruned) == [100]
        assert plan.kept[150] == ["the newest that verifies"]
        assert "not known to be damaged: checkpoint 200" in plan.kept[200][1]
    assert store.history("run").checkpoints[200].damaged is None
    fill(300)
    assert list(store.prune("run", RetentionPolicy(keep_last=9)).kept) == [150, 200, 300]


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
            with pytest.raises(
                StoreNotWritableError, match=r"cannot write .*(pins|marked)/100\.json"
            ):
                store.restore("run", 100)
        assert sorted(Path(folder).rglob("*")) == before

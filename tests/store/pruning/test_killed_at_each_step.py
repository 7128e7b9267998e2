"""Pruning, marking and sweeping stopped at each single change of a file, one after the other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest

from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy

NOW = RetentionPolicy(keep_last=1)
LATER = RetentionPolicy(keep_last=1, grace=timedelta(microseconds=1))


class Killed(BaseException):
    """Stands for SIGKILL: from here on this process changes nothing more."""


class Dying:
    """Counts changes of files, one by one in a batch; dies before the one of the given number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lives: int) -> None:
        self.lives = lives
        delete, replacing = StoreFilesystem.delete, StoreFilesystem.replacing
        create = StoreFilesystem.create_bytes

        def dying_delete(fs: StoreFilesystem, paths: Iterable[str]) -> dict[str, Exception]:
            failed: dict[str, Exception] = {}
            for path in paths:
                self.change()
                failed |= delete(fs, [path])
            return failed

        def dying_replacing(fs: StoreFilesystem, *args: Any, **options: Any) -> Any:
            self.change()
            return replacing(fs, *args, **options)

        def dying_create(fs: StoreFilesystem, *args: Any) -> None:
            self.change()
            create(fs, *args)

        monkeypatch.setattr(StoreFilesystem, "delete", dying_delete)
        monkeypatch.setattr(StoreFilesystem, "replacing", dying_replacing)
        monkeypatch.setattr(StoreFilesystem, "create_bytes", dying_create)

    def change(self) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise Killed


def mark_and_sweep(store: LocalWeightsStore) -> None:
    store.prune("run", LATER, by="someone")
    store.sweep("run", by="someone")


def force_remove(store: LocalWeightsStore) -> None:
    store.remove("run", 2, force=True)


OPERATIONS: list[Callable[[LocalWeightsStore], object]] = [
    lambda store: store.prune("run", NOW, by="someone"),
    mark_and_sweep,
    force_remove,
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=["prune", "mark and sweep", "remove best"])
def test_killed_before_each_change(operation: Callable[..., object], run: Any) -> None:
    died = True
    lives = 0
    while died:
        store = LocalWeightsStore(f"memory://{uuid.uuid4().hex}")
        for iteration in (1, 2, 3, 4, 5):
            store.store_weights(run, iteration)
        store.store_best("run", 2, "val", "dice")
        store.pin("run", 3)
        with pytest.MonkeyPatch.context() as patched:
            dying = Dying(patched, lives)
            try:
                operation(store)
                died = False
            except Killed:
                died = True
        assert died or dying.lives >= 0
        kept = {3, 5} if operation is force_remove else {2, 3, 5}
        check(store, kept)
        finish(store)
        check(store, kept)
        assert list(store.filesystem.file_names("run/records/pruning")) == []
        lives += 1
    assert lives > 5


def check(store: LocalWeightsStore, kept: set[int]) -> None:
    there = set(store.iterations("run"))
    assert kept <= there
    for best in store.best_records("run").values():
        store.verify("run", best.iteration)
    names = store.filesystem.file_names("run/records/checkpoints")
    assert {int(name.removesuffix(".json")) for name in names} <= there
    history = store.history("run")
    for record in history.operations:
        if record.kind in ("prune", "reclaim", "remove"):
            assert not record.iterations.keys() & there
    for iteration in {1, 2, 3, 4, 5} - there:
        assert history.checkpoints[iteration].reasons[0] in (
            "not among the last 1",
            "removed by hand",
        )


def finish(store: LocalWeightsStore) -> None:
    """What the next sweep does once the process is known to be dead."""
    folder = "run/records/pruning"
    for name in list(store.filesystem.file_names(folder)):
        intent = json.loads(store.filesystem.read_bytes(f"{folder}/{name}"))
        intent["process"]["started"] = 1
        store.filesystem.write_bytes(f"{folder}/{name}", json.dumps(intent).encode())
    store.sweep("run", by="the next")
    for iteration in store.iterations("run"):
        assert store.verify("run", iteration).record, "each has its record again"

"""A checkpoint stored again while a pruner deletes the one before it is there afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from dacapo_core.store import checkpoint_commit
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.pruning import delete, prune_operation
from dacapo_core.store.pruning.prune_intents import wait_for_pruners
from dacapo_core.store.retention import RetentionPolicy

Fill = Callable[..., None]
OpenStore = Callable[[], LocalWeightsStore]
LAST = RetentionPolicy(keep_last=1)


def record_of(store: LocalWeightsStore, iteration: int) -> bytes:
    found = store.filesystem.read_many([f"run/records/checkpoints/{iteration}.json"])
    return next(iter(found.values()), b"")


def storing_again(store: LocalWeightsStore, run: Any, iteration: int) -> threading.Thread:
    """A trainer that is as far as its record; it returns when no pruner is in its way."""
    before = record_of(store, iteration)
    thread = threading.Thread(target=store.store_weights, args=(run, iteration))
    thread.start()
    while record_of(store, iteration) in (b"", before):
        time.sleep(0.01)
    return thread


@pytest.mark.parametrize("last_look", ["before the records go", "before the files go"])
def test_stored_after_the_pruners_last_look(
    store: LocalWeightsStore,
    fill: Fill,
    open_store: OpenStore,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    last_look: str,
) -> None:
    fill(1, 2, 3, 4)
    folder = "records/checkpoints" if "records" in last_look else "checkpoints/iterations"
    path = f"run/{folder}/3"
    delete, trainers = store.filesystem.delete, list[threading.Thread]()

    def interfere(paths: Any) -> dict[str, Exception]:
        wanted = list(paths)
        if not trainers and any(each.removesuffix(".json") == path for each in wanted):
            trainers.append(storing_again(open_store(), run, 3))
        return delete(wanted)

    monkeypatch.setattr(store.filesystem, "delete", interfere)
    plan = store.prune("run", LAST)
    trainers[0].join()
    assert list(plan.pruned) == [1, 2, 3]
    assert store.iterations("run") == [3, 4]
    assert store.verify("run", 3).record, "its record speaks of it"
    assert store.history("run").checkpoints[3].fate == "kept"
    assert list(store.filesystem.file_names("run/records/pruning")) == []


@pytest.mark.parametrize("trainer_looks", ["while it is deleted", "when all is over"])
def test_the_record_is_the_new_ones_when_the_old_could_not_be_deleted(
    store: LocalWeightsStore,
    fill: Fill,
    open_store: OpenStore,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    trainer_looks: str,
) -> None:
    fill(1, 2)
    pruned, wait = threading.Event(), checkpoint_commit.wait_for_pruners

    def wait_late(*arguments: Any) -> bool:
        pruned.wait()
        return wait(*arguments)

    if trainer_looks == "when all is over":
        monkeypatch.setattr(checkpoint_commit, "wait_for_pruners", wait_late)
    delete, trainers = store.filesystem.delete, list[threading.Thread]()

    def interfere(paths: Any) -> dict[str, Exception]:
        wanted = list(paths)
        if wanted == ["run/records/checkpoints/1.json"]:
            trainers.append(storing_again(open_store(), run, 1))
        if wanted == ["run/checkpoints/iterations/1"]:
            return {wanted[0]: OSError("denied")}
        return delete(wanted)

    monkeypatch.setattr(store.filesystem, "delete", interfere)
    assert "denied" in store.prune("run", LAST).failed[1]
    pruned.set()
    trainers[0].join()
    assert store.verify("run", 1).record


def test_a_record_that_is_written_when_its_checkpoint_was_pruned_already_is_not_left_alone(
    store: LocalWeightsStore,
    fill: Fill,
    open_store: OpenStore,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(1, 2, 3)
    write = store.filesystem.write_bytes

    def interfere(path: str, *arguments: Any, **options: Any) -> None:
        if path == "run/records/checkpoints/2.json":
            monkeypatch.undo()
            assert 2 in open_store().prune("run", LAST).pruned
        write(path, *arguments, **options)

    monkeypatch.setattr(store.filesystem, "write_bytes", interfere)
    store.store_weights(run, 2)
    there = {f"{iteration}.json" for iteration in store.iterations("run")}
    assert set(store.filesystem.file_names("run/records/checkpoints")) == there


def test_stored_between_two_batches_of_one_listing(
    store: LocalWeightsStore,
    fill: Fill,
    open_store: OpenStore,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(1, 2, 3, 4)
    monkeypatch.setattr(prune_operation, "BATCH", 2)
    delete_batch, trainers = delete._delete_batch, list[threading.Thread]()

    def interfere(*arguments: Any) -> None:
        delete_batch(*arguments)
        if not trainers:
            trainers.append(storing_again(open_store(), run, 3))

    monkeypatch.setattr(delete, "_delete_batch", interfere)
    store.prune("run", LAST)
    trainers[0].join()
    assert 3 in store.iterations("run")
    assert store.verify("run", 3).record


@pytest.mark.s3
@pytest.mark.slow
def test_small_records_and_looking_for_pruners_take_few_requests(
    s3_server: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    requests: list[str] = []
    call = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: Any, *args: Any, **options: Any) -> Any:
        requests.append(str(method))
        return await call(self, method, *args, **options)

    store = LocalWeightsStore(f"{s3_server.new_folder()}/s", s3_server.storage_options)
    store.store_weights(run, 1)
    paths = [f"records/{number}.json" for number in range(3)]
    for path in paths:
        store.filesystem.write_bytes(path, b"{}")
    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    assert store.filesystem.read_many(paths) == dict.fromkeys(paths, b"{}")
    assert store.filesystem.read_bytes(paths[0]) == b"{}"
    assert requests == ["get_object"] * 4
    requests.clear()
    assert not wait_for_pruners(store.filesystem, "run", 1)
    # s3fs looks for what it does not find in the folder above
    assert requests == ["list_objects_v2"] * 2


def test_a_best_that_was_replaced_goes_with_the_one_that_would_be_next(
    store: LocalWeightsStore, fill: Fill, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(1, 2, 3, 4, dice={1: 0.9, 2: 0.8, 3: 0.7})
    store.derive_best("run")

    def died(*_: Any) -> None:
        raise OSError("its process died")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_commit, "withdraw_facts", died)
        store.store_weights(run, 1)
    plan = store.prune("run", LAST)
    assert list(plan.pruned) == [1, 2, 3]
    assert store.iterations("run") == [4]
    assert store.best_records("run") == {}

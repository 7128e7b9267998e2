"""What can come in between the plan and the end of a prune: others, kills, failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.pruning import prune_operation
from dacapo_core.store.retention import RetentionPolicy
from tests.store.records_of_a_store import operations, records_of

Fill = Callable[..., None]
LAST = RetentionPolicy(keep_last=1)


def test_what_becomes_protected_after_the_plan_is_spared(
    store: LocalWeightsStore, fill: Fill, open_store: Any, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    """Another process moves the best and stores again just after the plan is made."""
    fill(100, 200, 300, 400)
    write_intent = prune_operation.write_intent
    other = open_store()

    def interfere(*args: Any) -> None:
        other.filesystem.write_bytes("run/val/dice.json", b'{"iteration": 100}')
        other.store_weights(run, 200)
        write_intent(*args)

    monkeypatch.setattr(prune_operation, "write_intent", interfere)
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
    monkeypatch.setattr(prune_operation, "end_intent", lambda *_: None)
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

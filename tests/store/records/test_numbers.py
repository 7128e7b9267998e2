"""Records are strict JSON, a best is finite, and numbers of numpy and torch are numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dacapo_core.store.errors import InvalidValueError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import BestRecord, ScoresRecord

Fill = Callable[..., None]
NAN, INF = float("nan"), float("inf")
JUDGED = ("val_dice", "dice")


def all_strict(store: LocalWeightsStore) -> None:
    for file in store.filesystem.find_files("run"):
        if file.name.endswith(".json"):
            content = store.filesystem.read_bytes(f"run/{file.name}")
            json.loads(content, parse_constant=pytest.fail)


@pytest.mark.parametrize("score", [NAN, INF, -INF, np.float32("nan"), torch.tensor(INF)])
def test_a_score_that_is_not_finite_makes_no_best(
    store: LocalWeightsStore, fill: Fill, score: Any
) -> None:
    fill(100, 200)
    store.store_best("run", 200, "val", "dice", score=0.5)
    with pytest.raises(InvalidValueError, match=r"score .* of iteration 100 is not finite"):
        store.store_best("run", 100, "val", "dice", score=score)
    assert store.retrieve_best("run", "val", "dice") == 200


@pytest.mark.parametrize("score", ["0.5", True, [0.5], np.array([0.5, 0.5]), 1j, object()])
def test_what_is_no_number_is_no_score(store: LocalWeightsStore, fill: Fill, score: Any) -> None:
    fill(100)
    with pytest.raises(InvalidValueError, match="score"):
        store.store_best("run", 100, "val", "dice", score=score)
    assert store.best_records("run") == {}


def test_numbers_of_numpy_and_torch_are_numbers(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100)
    given = {
        "threshold": np.float32(0.5),
        "min_size": np.int64(30),
        "fill": np.bool_(True),
        "sigma": torch.tensor(2.0),
        "zero": np.array(0.25),
        "long": np.longdouble(1.5),
        "offsets": (np.int32(1), np.arange(2)),
        "more": {"a": np.float16(0.5), 3: None},
        "name": np.str_("x"),
        "path": Path("a/b"),
    }
    said = {
        "threshold": 0.5,
        "min_size": 30,
        "fill": True,
        "sigma": 2.0,
        "zero": 0.25,
        "long": 1.5,
        "offsets": [1, [0, 1]],
        "more": {"a": 0.5, "3": None},
        "name": "x",
        "path": "a/b",
    }
    store.store_best("run", np.int64(100), "val", "dice", score=np.float32(0.25), parameters=given)
    found = store.best_record("run", "val", "dice")
    assert (found.score, found.parameters) == (0.25, said)
    record = ScoresRecord.model_validate(
        {
            "iteration": np.int64(100),
            "dataset": "val",
            "criteria": {"iou": np.bool_(True)},
            "entries": [{"parameters": given, "scores": {"iou": np.float32(0.75)}}],
        }
    )
    store.store_scores("run", 100, "val", record)
    assert store.derive_best("run").keys() == {("val", "iou")}
    assert store.derive_best("run") == {}
    best = store.best_record("run", "val", "iou")
    assert (best.score, best.parameters) == (0.75, said)
    all_strict(store)


@pytest.mark.parametrize("value", [{1, 2}, object(), 1j, b"x", [np.datetime64("2026-01-01")]])
def test_a_parameter_that_no_record_holds_is_named(
    store: LocalWeightsStore, fill: Fill, value: Any
) -> None:
    fill(100)
    with pytest.raises(InvalidValueError, match=r"parameters\.threshold"):
        store.store_best("run", 100, "val", "dice", parameters={"threshold": value})
    assert store.best_records("run") == {}
    with pytest.raises(InvalidValueError, match="must be a mapping"):
        store.store_best("run", 100, "val", "dice", parameters=[1])  # type: ignore[arg-type]


def test_parameters_that_are_not_finite_are_kept_as_text(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100)
    record = ScoresRecord.model_validate(
        {
            "iteration": 100,
            "dataset": "val",
            "criteria": {"dice": True},
            "entries": [{"parameters": {"limit": INF, "x": [NAN]}, "scores": {"dice": 0.5}}],
        }
    )
    store.store_scores("run", 100, "val", record)
    assert len(store.derive_best("run")) == 1
    assert store.derive_best("run") == {}, "what is read is what was written"
    found = store.best_record("run", "val", "dice").parameters or {}
    assert found == {"limit": "Infinity", "x": ["NaN"]}
    assert float(found["limit"]) == INF
    all_strict(store)


def test_records_of_before_that_hold_them_are_read(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100)
    store.filesystem.write_bytes(
        "run/val/dice.json", b'{"iteration": 100, "score": NaN, "parameters": {"t": Infinity}}'
    )
    assert store.best_record("run", "val", "dice") == BestRecord(
        iteration=100, score=None, parameters={"t": "Infinity"}
    )
    store.filesystem.write_bytes(
        "run/records/scores/100/val.json",
        b'{"iteration": 100, "dataset": "val", "criteria": {"dice": true}, "entries": '
        b'[{"parameters": {"t": NaN}, "scores": {"dice": NaN, "voi": -Infinity}}]}',
    )
    (record,) = store.scores("run")
    assert record.entries[0].scores == {"dice": None, "voi": -INF}
    store.filesystem.write_bytes("run/records/run.json", b'{"a": NaN}')
    assert store.run_config("run") is not None


@pytest.mark.parametrize("again", [NAN, INF, -INF])
def test_scored_again_and_not_finite_the_best_is_withdrawn_with_a_word(
    store: LocalWeightsStore, fill: Fill, caplog: pytest.LogCaptureFixture, again: float
) -> None:
    fill(100, 200, dice={100: 0.9})
    store.derive_best("run")
    fill(dice={100: again})
    assert store.derive_best("run") == {}
    assert "run/100 is no longer the best by Dice on val dice" in caplog.text
    assert store.best_records("run") == {}
    told = {str(event): event for event in store.history("run").checkpoints[100].events}
    assert "scored on val dice: no finite score" in told
    withdrawn = told["no longer the best: scored again, and not finite"]
    assert withdrawn.reasons == ["was best of val_dice/dice"]
    fill(dice={200: 0.1})
    assert store.derive_best("run")[JUDGED].iteration == 200
    fill(dice={100: 0.95})
    assert store.derive_best("run")[JUDGED].iteration == 100
    fill(dice={100: again})
    assert store.derive_best("run")[JUDGED].iteration == 200
    all_strict(store)


def test_a_score_that_is_not_finite_is_said_beside_those_that_are(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100)
    record = ScoresRecord.model_validate(
        {
            "iteration": 100,
            "dataset": "val",
            "criteria": {"dice": True, "voi": False},
            "entries": [{"parameters": {}, "scores": {"dice": 0.5, "voi": NAN}}],
        }
    )
    store.store_scores("run", 100, "val", record)
    assert store.derive_best("run").keys() == {("val", "dice")}
    told = [str(event) for event in store.history("run").checkpoints[100].events]
    assert "scored on val: Dice 0.5; not finite: VOI" in told


def test_what_else_is_kept_is_strict(store: LocalWeightsStore) -> None:
    store.store_run_config("run", {"a": INF, "b": [np.float32(NAN)], "c": np.int64(3)})
    assert store.run_config("run") == {"a": "Infinity", "b": ["NaN"], "c": 3}
    store.store_start_report("run", {"share": -INF})
    store.store_training_stats("run", 4, {"loss": [NAN, 1.0], "rate": np.float32(0.5)})
    assert store.training_stats("run") == [{"loss": [None, 1.0], "rate": 0.5}]
    all_strict(store)
    with pytest.raises(InvalidValueError, match=r"a\.b"):
        store.store_run_config("run", {"a": {"b": object()}})
    assert store.run_config("run") == {"a": "Infinity", "b": ["NaN"], "c": 3}

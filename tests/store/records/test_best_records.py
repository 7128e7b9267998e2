"""Best records: round trips on each backend, both ways with DaCapo's layout, never a lie."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dacapo_core.store.errors import (
    DamagedCheckpointError,
    DamagedRecordError,
    InvalidNameError,
    MissingRecordError,
)
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import BestRecord, ScoresRecord
from dacapo_core.store.retention import RetentionPolicy

Fill = Callable[..., None]


def test_best_round_trip(store: LocalWeightsStore, fill: Fill, open_store: Any) -> None:
    fill(100, 200)
    store.store_best("run", 100, "val", "dice", score=0.9, parameters={"threshold": 0.3})
    store.store_best("run", 200, "val", "voi")
    other = open_store()
    assert other.retrieve_best("run", "val", "dice") == 100
    assert other.retrieve_best("run", SimpleNamespace(name="val"), "voi") == 200
    assert other.best_records("run") == {
        ("val", "dice"): BestRecord(iteration=100, score=0.9, parameters={"threshold": 0.3}),
        ("val", "voi"): BestRecord(iteration=200),
    }
    store.store_best("run", 200, "val", "dice")
    assert other.retrieve_best("run", "val", "dice") == 200


def test_best_of_a_missing_checkpoint_is_refused_and_unmoved(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100)
    store.store_best("run", 100, "val", "dice")
    with pytest.raises(FileNotFoundError, match="no checkpoint of iteration 99999"):
        store.store_best("run", 99999, "val", "dice")
    assert store.retrieve_best("run", "val", "dice") == 100


def test_best_of_a_checkpoint_on_record_as_damaged_is_refused_and_unmoved(
    store: LocalWeightsStore, fill: Fill, run: Any
) -> None:
    fill(50, 100, 200)
    store.store_best("run", 100, "val", "dice")
    path = "run/checkpoints/iterations/200"
    store.filesystem.write_bytes(path, store.filesystem.read_bytes(path)[:-50])
    store.prune("run", RetentionPolicy(keep_last=1))
    with pytest.raises(DamagedCheckpointError, match="on record as damaged") as caught:
        store.store_best("run", 200, "val", "dice")
    assert (caught.value.run, caught.value.iteration) == ("run", 200)
    assert store.retrieve_best("run", "val", "dice") == 100
    store.store_weights(run, 200)
    store.store_best("run", 200, "val", "dice")
    assert store.retrieve_best("run", "val", "dice") == 200


def test_a_missing_best_is_file_not_found(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100)
    with pytest.raises(FileNotFoundError, match="no best of dataset 'val'"):
        store.retrieve_best("run", "val", "dice")


@pytest.mark.parametrize(
    ("dataset", "criterion"),
    [
        ("iterations", "5"),
        ("checkpoints", "dice"),
        ("records", "dice"),
        ("../evil", "dice"),
        ("val", "../../evil"),
        ("val", "iterations"),
        ("", "dice"),
        ("val", ""),
        (".hidden", "dice"),
        ("val.zarr", "dice"),
    ],
)
def test_names_that_leave_or_collide_are_refused(
    tmp_path: Path, dataset: str, criterion: str
) -> None:
    from dacapo_core.store.metadata_store import MetadataStore

    file = tmp_path / "run/checkpoints/iterations/5"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"checkpoint")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidNameError):
        MetadataStore(tmp_path).store_best("run", 5, dataset, criterion)
    assert sorted(tmp_path.rglob("*")) == before
    assert file.read_bytes() == b"checkpoint"


def test_brackets_are_ordinary_and_a_slash_becomes_an_underscore(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(1, 2)
    store.store_best("run", 1, "crop[1]", "dice")
    store.store_best("run", 2, "a/b", "dice")
    assert store.retrieve_best("run", "crop[1]", "dice") == 1
    assert store.retrieve_best("run", "a_b", "dice") == 2
    assert store.best_records("run").keys() == {("crop[1]", "dice"), ("a_b", "dice")}


def test_a_pair_whose_swap_exists_is_refused(store: LocalWeightsStore, fill: Fill) -> None:
    fill(1)
    store.store_best("run", 1, "val", "dice")
    with pytest.raises(InvalidNameError, match="in the same file"):
        store.store_best("run", 1, "dice", "val")


# with DaCapo, on local stores


@pytest.fixture
def local(tmp_path: Path, run: Any) -> LocalWeightsStore:
    store = LocalWeightsStore(tmp_path)
    for iteration in (100, 200, 300):
        store.store_weights(run, iteration)
    return store


def test_what_dacapo_reads_is_there(local: LocalWeightsStore, tmp_path: Path) -> None:
    local.store_best("run", 100, "val", "dice", score=0.5)
    local.store_best("run", 200, "val", "dice", score=0.6)
    checkpoints = tmp_path / "run/checkpoints"
    for mirror in ("val/dice.json", "dice/val.json", "dice/ds_val.json"):
        assert json.loads((checkpoints / mirror).read_text())["iteration"] == 200
    link = checkpoints / "val/dice"
    assert link.is_symlink()
    assert link.read_bytes() == (checkpoints / "iterations/200").read_bytes()
    assert not os.path.isabs(os.readlink(link))
    assert {int(p.name) for p in (checkpoints / "iterations").iterdir()} == {100, 200, 300}
    assert local.best_records("run").keys() == {("val", "dice")}


def test_where_dacapo_moved_its_record_it_wins(local: LocalWeightsStore, tmp_path: Path) -> None:
    local.store_best("run", 100, "val", "dice", score=0.5)
    theirs = tmp_path / "run/checkpoints/val/dice.json"
    theirs.write_text('{"iteration": 300}')
    assert local.retrieve_best("run", "val", "dice") == 300
    assert local.best_records("run") == {("val", "dice"): BestRecord(iteration=300)}
    theirs.write_text('{"iteration": 12345}')
    assert local.retrieve_best("run", "val", "dice") == 100, "its target does not exist"


def test_all_three_spellings_are_read(local: LocalWeightsStore, tmp_path: Path) -> None:
    for place, iteration in (
        ("checkpoints/dice/val.json", 100),
        ("checkpoints/val/dice.json", 200),
        ("val/dice.json", 300),
    ):
        file = tmp_path / "run" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"iteration": iteration}))
        if place == "val/dice.json":
            (tmp_path / "run/checkpoints/val/dice.json").unlink()
        assert local.retrieve_best("run", "val", "dice") == iteration


def test_stores_written_by_dacapo(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "stores/dacapo-0.3.5", tmp_path / "s", symlinks=True)
    store = LocalWeightsStore(tmp_path / "s")
    assert {judged: best.iteration for judged, best in store.best_records("tiny_run").items()} == {
        ("val_a", "dice"): 2000,
        ("val_a", "voi"): 500,
        ("val_b", "dice"): 10000,
    }
    with pytest.raises(FileNotFoundError, match="iteration 7, whose checkpoint is gone"):
        store.retrieve_best("best_removed", "val_a", "dice")
    store.store_best("best_removed", 8, "val_a", "dice")
    assert store.retrieve_best("best_removed", "val_a", "dice") == 8
    link = tmp_path / "s/best_removed/checkpoints/val_a/dice"
    assert link.resolve().name == "8"


def test_a_killed_store_best_leaves_the_old_or_the_new(
    local: LocalWeightsStore, tmp_path: Path
) -> None:
    """Mirrors come first, ours last; at each step both checkpoints exist and one is named."""
    local.store_best("run", 100, "val", "dice")
    mirrors = ["checkpoints/dice/val.json", "checkpoints/dice/ds_val.json"]
    mirrors += ["checkpoints/val/dice.json"]
    for count in range(1, len(mirrors) + 1):
        for mirror in mirrors[:count]:
            (tmp_path / "run" / mirror).write_text('{"iteration": 200}')
        assert local.retrieve_best("run", "val", "dice") in (100, 200)
        assert set(local.best_records("run")) == {("val", "dice")}


def test_a_damaged_best_record_is_named(local: LocalWeightsStore, tmp_path: Path) -> None:
    local.store_best("run", 100, "val", "dice")
    (tmp_path / "run/val/dice.json").write_text("{")
    with pytest.raises(DamagedRecordError, match=r"val/dice\.json is not a best record"):
        local.retrieve_best("run", "val", "dice")


# derived from scores


def test_best_is_derived_from_scores_in_any_order(store: LocalWeightsStore, fill: Fill) -> None:
    scores = {300: 0.7, 100: 0.5, 200: 0.9}
    fill(100, 200, 300, 400, dice=scores, voi=scores)
    moved = store.derive_best("run")
    assert {judged: best.iteration for judged, best in moved.items()} == {
        ("val_dice", "dice"): 200,
        ("val_voi", "voi"): 100,
    }
    best = store.best_record("run", "val_dice", "dice")
    assert (best.score, best.parameters) == (0.9, {"threshold": 0.5})
    assert store.derive_best("run") == {}
    fill(dice={400: 0.95})
    assert store.derive_best("run")["val_dice", "dice"].iteration == 400


def test_nan_and_scores_without_a_checkpoint_make_no_best(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, 200, dice={0: 0.99, 100: float("nan"), 200: 0.1})
    store.derive_best("run")
    assert store.retrieve_best("run", "val_dice", "dice") == 200
    assert [record.iteration for record in store.scores("run")] == [0, 100, 200]


def test_the_best_parameters_are_those_of_the_best_entry(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100)
    entries = [
        {"parameters": {"threshold": t}, "scores": {"mito__dice": s, "other": 1.0}}
        for t, s in ((0.1, 0.4), (0.5, 0.8), (0.7, 0.8), (0.9, None))
    ]
    record = ScoresRecord.model_validate(
        {
            "iteration": 100,
            "dataset": "val",
            "criteria": {"mito__dice": True},
            "entries": entries,
        }
    )
    store.store_scores("run", 100, "val", record)
    store.derive_best("run")
    assert store.best_records("run") == {
        ("val", "mito__dice"): BestRecord(iteration=100, score=0.8, parameters={"threshold": 0.5})
    }
    assert store.scores("run") == [record]


def test_resuming_withdraws_scores_and_best_past_it(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200, 300, dice={100: 0.5, 200: 0.4, 300: 0.9}, voi={300: 0.1})
    store.derive_best("run")
    assert store.withdraw_after("run", 200) == [300]
    assert [(record.iteration) for record in store.scores("run")] == [100, 200]
    assert store.retrieve_best("run", "val_dice", "dice") == 100
    with pytest.raises(MissingRecordError):
        store.retrieve_best("run", "val_voi", "voi")
    assert store.iterations("run") == [100, 200, 300]


def test_scores_of_another_iteration_or_dataset_are_refused(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(100, dice={100: 0.5})
    (record,) = store.scores("run")
    with pytest.raises(ValueError, match="not of iteration 200"):
        store.store_scores("run", 200, record.dataset, record)
    with pytest.raises(ValueError, match="on 'other'"):
        store.store_scores("run", 100, "other", record)

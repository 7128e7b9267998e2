"""What a person forgets, or deletes, stays away; what only DaCapo says is said to be DaCapo's."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.errors import InvalidNameError, MissingRecordError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoresRecord

Fill = Callable[..., None]


def score(store: LocalWeightsStore, iteration: int, dataset: str, **scores: float) -> None:
    record = ScoresRecord.model_validate(
        {
            "iteration": iteration,
            "dataset": dataset,
            "criteria": dict.fromkeys(scores, True),
            "entries": [{"parameters": {"threshold": 0.5}, "scores": scores}],
        }
    )
    store.store_scores("run", iteration, dataset, record)


@pytest.fixture
def judged(store: LocalWeightsStore, fill: Fill) -> LocalWeightsStore:
    fill(100, 200)
    for iteration in (100, 200):
        for dataset in ("val", "test"):
            score(store, iteration, dataset, dice=iteration / 1000, iou=0.5 - iteration / 1000)
        store.store_picture("run", iteration, "val", b"png")
    store.derive_best("run")
    return store


@pytest.mark.parametrize(
    ("dataset", "criterion", "left"),
    [
        ("val", None, {("test", "dice"), ("test", "iou")}),
        (None, "dice", {("val", "iou"), ("test", "iou")}),
        ("val", "dice", {("val", "iou"), ("test", "dice"), ("test", "iou")}),
    ],
)
def test_what_is_forgotten_stays_forgotten_and_is_on_record(
    judged: LocalWeightsStore,
    dataset: str | None,
    criterion: str | None,
    left: Any,
    open_store: Any,
) -> None:
    forgotten = judged.forget("run", dataset, criterion, by="ann")
    assert (
        set(forgotten)
        == {("val", "dice"), ("val", "iou"), ("test", "dice"), ("test", "iou")} - left
    )
    other = open_store()
    for each in (judged, other):
        assert each.derive_best("run") == {}
        assert each.best_records("run").keys() == left
    shown = {name for c in other.history("run").checkpoints.values() for name in c.scores}
    assert shown == {f"{d}/{c}" for d, c in left}
    (record,) = [each for each in other.history("run").withdrawn if each.occasion == "forgotten"]
    assert record.by == "ann"
    assert set(record.judged) == {f"{d}/{c}" for d, c in forgotten}
    assert {name for each in record.iterations.values() for name in each.best} == set(record.judged)
    if "dice" in (criterion, "dice") and ("val", "dice") in forgotten:
        told = [str(event) for event in other.history("run").checkpoints[200].events]
        assert any("scored on val: Dice 0.2" in what for what in told)
        assert "scores forgotten by hand" in told
    assert [d for _, d in other.pictures("run")] == ([] if criterion is None else ["val"] * 2)
    with pytest.raises(MissingRecordError, match="knows no"):
        other.forget("run", dataset, criterion)
    if dataset is not None:
        score(other, 100, dataset, dice=0.9)
        assert (dataset, "dice") in other.derive_best("run"), "what comes later counts"


def test_a_best_whose_checkpoint_is_gone_is_dropped(
    store: LocalWeightsStore, fill: Fill, tmp_path: Path
) -> None:
    fill(100, 200)
    store.store_best("run", 100, "val", "dice", score=0.9)
    store.filesystem.delete_all(["run/checkpoints/iterations/100"])
    with pytest.raises(FileNotFoundError, match="forget run --dataset val --criterion dice"):
        store.retrieve_best("run", "val", "dice")
    assert store.forget("run", "val", "dice") == [("val", "dice")]
    assert store.best_records("run") == {}
    files = [file.name for file in store.filesystem.find_files("run")]
    assert not [name for name in files if name.endswith(("dice.json", "val.json"))]


def test_names_are_checked(judged: LocalWeightsStore) -> None:
    for names in ((None, None), ("../x", None), (None, "a/b")):
        with pytest.raises(InvalidNameError):
            judged.forget("run", *names)
    with pytest.raises(FileNotFoundError, match="no run 'nope'"):
        judged.forget("nope", "val")
    assert len(judged.best_records("run")) == 4
    # what stands there mirrors val/dice
    with pytest.raises(MissingRecordError, match="knows no dataset 'dice'; it knows test/dice"):
        judged.forget("run", "dice")
    assert len(judged.best_records("run")) == 4


@pytest.fixture
def local(tmp_path: Path, run: Any) -> LocalWeightsStore:
    store = LocalWeightsStore(tmp_path)
    for iteration in (100, 200):
        store.store_weights(run, iteration)
    for dataset in ("val", "test"):
        store.store_best("run", 200, dataset, "dice", score=0.9)
    return store


def test_forgetting_leaves_nothing_for_dacapo(local: LocalWeightsStore, tmp_path: Path) -> None:
    local.forget("run", "val")
    left = {str(path.relative_to(tmp_path / "run/checkpoints")) for path in mirrors(tmp_path)}
    assert left == {"test/dice", "test/dice.json", "dice/test.json", "dice/ds_test.json"}


@pytest.mark.parametrize("folders", [["val"], ["val", "checkpoints/val"]])
def test_a_dataset_deleted_by_hand_leaves_no_phantoms(
    local: LocalWeightsStore, tmp_path: Path, folders: list[str]
) -> None:
    for folder in folders:
        shutil.rmtree(tmp_path / "run" / folder)
    assert local.best_records("run").keys() == {("test", "dice")}
    with pytest.raises(MissingRecordError):
        local.retrieve_best("run", "val", "dice")
    assert local.derive_best("run") == {}
    assert local.best_records("run").keys() == {("test", "dice")}
    assert local.history("run").checkpoints[200].best_for == ["test/dice"]
    assert local.forget("run", "val") == [("val", "dice")]
    left = {str(path.relative_to(tmp_path / "run/checkpoints")) for path in mirrors(tmp_path)}
    assert left == {"test/dice", "test/dice.json", "dice/test.json", "dice/ds_test.json"}


def test_what_only_dacapo_says_is_dacapos_and_can_be_dropped(
    local: LocalWeightsStore, tmp_path: Path
) -> None:
    theirs = tmp_path / "run/checkpoints/theirs/voi.json"
    theirs.parent.mkdir()
    theirs.write_text('{"iteration": 100}')
    os.symlink("../iterations/100", theirs.with_suffix(""))
    found = local.best_records("run")
    assert {judged for judged, record in found.items() if record.by_dacapo} == {("theirs", "voi")}
    assert local.forget("run", criterion="voi") == [("theirs", "voi")]
    assert local.best_records("run").keys() == {("val", "dice"), ("test", "dice")}
    assert not os.path.lexists(theirs.with_suffix(""))


def test_a_damaged_best_record_can_be_forgotten(local: LocalWeightsStore, tmp_path: Path) -> None:
    (tmp_path / "run/val/dice.json").write_text("{")
    with pytest.raises(ValueError, match="dacapo-store forget"):
        local.best_records("run")
    assert local.forget("run", "val", "dice") == [("val", "dice")]
    assert local.best_records("run").keys() == {("test", "dice")}


def mirrors(folder: Path) -> list[Path]:
    checkpoints = folder / "run/checkpoints"
    return [
        path
        for path in checkpoints.rglob("*")
        if not path.is_dir() and "iterations" not in str(path.relative_to(checkpoints))
    ]


def test_killed_while_forgetting_nothing_comes_back_half(local: LocalWeightsStore) -> None:
    from dacapo_core.store.filesystems.filesystem import StoreFilesystem

    delete = StoreFilesystem.delete
    for lives in range(4):
        left = [lives]

        def dying(fs: StoreFilesystem, paths: Any, left: list[int] = left) -> Any:
            failed: dict[str, Exception] = {}
            for path in paths:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                failed |= delete(fs, [path])
            return failed

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(StoreFilesystem, "delete", dying)
            with pytest.raises(KeyboardInterrupt):
                local.forget("run", "val")
        assert local.best_records("run").keys() >= {("test", "dice")}
        assert all(record.iteration == 200 for record in local.best_records("run").values())
        local.forget("run", "val")
        assert local.best_records("run").keys() == {("test", "dice")}
        local.store_best("run", 200, "val", "dice", score=0.9)


def test_the_record_is_strict_json(judged: LocalWeightsStore) -> None:
    judged.forget("run", "val")
    (name,) = judged.filesystem.file_names("run/records/withdrawn")
    json.loads(
        judged.filesystem.read_bytes(f"run/records/withdrawn/{name}"), parse_constant=pytest.fail
    )

"""Names that lead to another's file are refused when they are first met."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.copy_run import copy_run
from dacapo_core.store.errors import InvalidNameError
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoresRecord
from tests.store.conftest import OpenStore

Fill = Callable[..., None]


def scores(dataset: str, iteration: int, value: float) -> ScoresRecord:
    values = {"criteria": {"dice": True}, "entries": [{"scores": {"dice": value}}]}
    return ScoresRecord.model_validate({"iteration": iteration, "dataset": dataset, **values})


@pytest.mark.parametrize(("first", "second"), [("a/b", "a_b"), ("a_b", "a/b"), ("a/b_c", "a_b/c")])
def test_a_slash_and_an_underscore(
    store: LocalWeightsStore, fill: Fill, open_store: OpenStore, first: str, second: str
) -> None:
    fill(1, 2)
    store.store_scores("run", 1, first, scores(first, 1, 0.5))
    store.store_best("run", 1, first, "dice", score=0.5)
    again = open_store()
    for way in (
        lambda: again.store_scores("run", 1, second, scores(second, 1, 0.1)),
        lambda: again.store_best("run", 2, second, "dice"),
    ):
        with pytest.raises(InvalidNameError, match=f"'{second}'.*'{first}'.*first.*rename one"):
            way()
    if "/" in second:
        with pytest.raises(InvalidNameError, match=f"'{first}'"):
            again.retrieve_best("run", second, "dice")
    assert again.retrieve_best("run", first.replace("/", "_"), "dice") == 1, "as it is listed"
    again.store_scores("run", 2, first, scores(first, 2, 0.7))
    again.derive_best("run")
    assert again.best_record("run", first, "dice").score == 0.7
    assert again.retrieve_best("run", first, "dice") == 2


def test_a_store_of_before_goes_on_by_the_name_it_was_written_with(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(1, 2)
    store.store_best("run", 1, "a/b", "dice")
    store.filesystem.delete_all(["run/records/datasets/a_b.json"])
    assert store.retrieve_best("run", "a/b", "dice") == 1
    store.store_best("run", 2, "a/b", "dice")
    with pytest.raises(InvalidNameError):
        store.store_best("run", 1, "a_b", "dice")


def test_a_copy_knows_the_name_too(store: LocalWeightsStore, fill: Fill, tmp_path: Path) -> None:
    fill(1)
    store.store_scores("run", 1, "a/b", scores("a/b", 1, 0.5))
    store.derive_best("run")
    target = LocalWeightsStore(tmp_path / "copy")
    assert list(copy_run(store, target, "run")) == [1]
    assert target.retrieve_best("run", "a/b", "dice") == 1
    with pytest.raises(InvalidNameError, match="'a/b'"):
        target.store_best("run", 1, "a_b", "dice")


def test_a_name_is_free_again_when_the_other_was_forgotten(
    store: LocalWeightsStore, fill: Fill
) -> None:
    fill(1)
    store.store_best("run", 1, "a/b", "dice")
    store.forget("run", "a/b")
    store.store_best("run", 1, "a_b", "dice")
    assert store.retrieve_best("run", "a_b", "dice") == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("val", "dice"), ("ds_val", "dice")),
        (("ds_val", "dice"), ("val", "dice")),
        (("val", "dice"), ("dice", "ds_val")),
        (("val", "dice"), ("dice", "val")),
    ],
)
def test_a_copy_for_dacapo_is_nobody_elses(
    store: LocalWeightsStore, fill: Fill, first: tuple[str, str], second: tuple[str, str]
) -> None:
    fill(1, 2)
    store.store_best("run", 1, *first)
    with pytest.raises(InvalidNameError, match=r"DaCapo.*[Rr]ename"):
        store.store_best("run", 2, *second)
    assert store.retrieve_best("run", *first) == 1
    assert list(store.best_records("run")) == [first]


@pytest.fixture
def folding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Any) -> LocalWeightsStore:
    """The paths of a file system that takes ``Val`` for ``val``; none can be mounted everywhere."""
    full = StoreFilesystem._full

    def folded(filesystem: StoreFilesystem, path: str) -> str:
        found = full(filesystem, "")
        for part in filter(None, path.split("/")):
            names = {name.casefold(): name for name in filesystem_names(found)}
            found = f"{found}/{names.get(part.casefold(), part)}"
        return found

    monkeypatch.setattr(StoreFilesystem, "_full", folded)
    store = LocalWeightsStore(tmp_path / "store")
    store.store_weights(run, 1)
    store.store_weights(run, 2)
    return store


def filesystem_names(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()] if Path(folder).is_dir() else []


def test_a_file_system_that_folds_names(folding: LocalWeightsStore) -> None:
    folding.store_best("run", 1, "val", "dice")
    for dataset, criterion in (
        ("Val", "dice"),
        ("val", "Dice"),
        ("VAL", "voi"),
        ("Records", "voi"),
    ):
        with pytest.raises(InvalidNameError, match="would share its files with"):
            folding.store_best("run", 2, dataset, criterion)
    folding.store_best("run", 2, "val", "dice")
    assert folding.retrieve_best("run", "val", "dice") == 2
    folding.store_scores("run", 1, "test_a", scores("test_a", 1, 0.5))
    with pytest.raises(InvalidNameError, match=r"'Test_A'.*'test_a'"):
        folding.store_scores("run", 1, "Test_A", scores("Test_A", 1, 0.1))

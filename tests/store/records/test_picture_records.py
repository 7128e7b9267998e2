"""Pictures of validations are kept with the run, within a budget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.picture_records import iterations_worth_a_picture

Fill = Callable[..., None]


def test_the_newest_few_and_the_best_are_worth_a_picture() -> None:
    pictured = [10, 20, 30, 40, 50]
    assert iterations_worth_a_picture(pictured, []) == {30, 40, 50}
    assert iterations_worth_a_picture(pictured, [10, 50, 60]) == {10, 30, 40, 50}
    assert iterations_worth_a_picture([], [10]) == set()


def test_pictures_make_room_for_newer_ones_but_not_those_of_the_best(
    store: LocalWeightsStore, fill: Fill
) -> None:
    for iteration in (10, 20, 30, 40, 50, 60):
        fill(iteration, dice={iteration: 0.9 if iteration == 20 else 0.1})
        for dataset in ("a/b", "c"):
            store.store_picture("run", iteration, dataset, f"{dataset} {iteration}".encode())
        store.derive_best("run")
    assert {iteration for iteration, _ in store.pictures("run")} == {20, 40, 50, 60}
    assert store.pictures("run")[:2] == [(20, "a_b"), (20, "c")]
    assert store.picture("run", 20, "a/b") == b"a/b 20"
    with pytest.raises(FileNotFoundError):
        store.picture("run", 10, "c")

    store.store_picture("run", 5, "c", b"late")
    assert store.picture("run", 5, "c") == b"late", "it may turn out to be the best"
    store.store_picture("run", 70, "c", b"next")
    assert {iteration for iteration, _ in store.pictures("run")} == {20, 50, 60, 70}

    store.withdraw_after("run", 50)
    assert {iteration for iteration, _ in store.pictures("run")} == {20, 50}


def test_a_run_without_pictures_has_none(tmp_path: Path) -> None:
    assert LocalWeightsStore(tmp_path).pictures("nobody") == []

"""Bytes that have another name are not freed by a deletion, and are not said to be."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy


@pytest.fixture
def store(tmp_path: Path, run: Any) -> LocalWeightsStore:
    """1 is a link to 4; 2 has another name in a backup; 3 and 4 are as they are mostly."""
    store = LocalWeightsStore(tmp_path / "store")
    for iteration in (2, 3, 4):
        store.store_weights(run, iteration)
    (tmp_path / "store/run/checkpoints/iterations/1").symlink_to("4")
    (tmp_path / "backup").hardlink_to(tmp_path / "store/run/checkpoints/iterations/2")
    return store


@pytest.mark.parametrize("grace", [None, timedelta(microseconds=1)])
def test_what_pruning_frees(
    store: LocalWeightsStore, tmp_path: Path, grace: timedelta | None
) -> None:
    folder = tmp_path / "store/run/checkpoints/iterations"
    three, four = ((folder / name).stat().st_size for name in ("3", "4"))
    plan = store.prune("run", RetentionPolicy(keep_last=1, grace=grace))
    assert list(plan.pruned) == [1, 2, 3]
    assert (plan.bytes_kept, plan.bytes_freed) == (four, three)
    if grace is not None:
        assert store.prune("run", RetentionPolicy(keep_last=1)).bytes_marked == three
        assert store.sweep("run")["run"].bytes_freed == three
    gone = store.history("run").checkpoints
    assert [gone[iteration].size for iteration in (1, 2, 3)] == [0, 0, three]
    assert sorted(path.name for path in folder.iterdir()) == ["4"]
    assert (tmp_path / "backup").stat().st_size > 0


def test_a_link_has_no_weight_under_a_size_limit(store: LocalWeightsStore, tmp_path: Path) -> None:
    size = (tmp_path / "backup").stat().st_size
    plan = store.prune("run", RetentionPolicy(max_total_size=3 * size + 100), dry_run=True)
    assert list(plan.kept) == [1, 2, 3, 4]

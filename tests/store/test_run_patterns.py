"""Which runs a name or a pattern means."""

from __future__ import annotations

import pytest

from dacapo_core.store.errors import InvalidNameError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.run_patterns import choose_runs, chosen
from tests.store.conftest import TinyRun


def test_a_name_is_literal_before_it_is_a_pattern() -> None:
    runs = ["a[1]", "a1", "b"]

    def meant(*said: str) -> list[str]:
        return chosen(said, runs, lambda: runs, {"l": "a link to nowhere"})

    assert meant("a[1]") == ["a[1]"]
    assert meant("a[12]") == ["a1"]
    assert meant("b", "a*") == ["a1", "a[1]", "b"]
    assert meant("?") == ["b"]
    assert chosen(["*"], [], list, {}) == []
    with pytest.raises(FileNotFoundError, match="no run 'c'; the store's runs: a"):
        meant("c")
    with pytest.raises(FileNotFoundError, match=r"no run 'z\*'"):
        meant("b", "z*")
    with pytest.raises(FileNotFoundError, match="no run 'l': it is a link to nowhere"):
        meant("l")
    with pytest.raises(InvalidNameError, match="slash"):
        meant("a/../b")


def test_a_pattern_means_runs_and_no_other_folders(store: LocalWeightsStore) -> None:
    for name in ("mito-1", "mito-2", "er"):
        store.store_weights(TinyRun(name), 1)
    store.filesystem.write_bytes("mito-notes/figures/one.txt", b"no run")
    assert choose_runs(store, ["mito-*"]) == ["mito-1", "mito-2"]
    assert choose_runs(store, ["*"]) == store.runs() == ["er", "mito-1", "mito-2"]

"""Removing one checkpoint by hand, where that cannot be done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from dacapo_core.store.errors import (
    MissingCheckpointError,
    ProtectedCheckpointError,
    StoreNotWritableError,
)
from dacapo_core.store.local_weights_store import LocalWeightsStore


def test_a_folder_named_like_an_iteration_is_no_checkpoint(
    store: LocalWeightsStore, fill: Callable[..., None]
) -> None:
    fill(6)
    store.filesystem.write_bytes("run/checkpoints/iterations/7/something", b"else")
    for method in (store.remove, store.pin, store.restore):
        with pytest.raises(MissingCheckpointError, match="no checkpoint of iteration 7"):
            method("run", 7)
    assert store.filesystem.read_bytes("run/checkpoints/iterations/7/something") == b"else"


def test_the_latest_goes_by_force_alone(
    store: LocalWeightsStore, fill: Callable[..., None]
) -> None:
    fill(1, 2, 3)
    with pytest.raises(ProtectedCheckpointError, match="3 of run 'run' is latest"):
        store.remove("run", 3)
    store.remove("run", 1)
    store.remove("run", 3, force=True)
    with pytest.raises(ProtectedCheckpointError, match="latest"):
        store.remove("run", 2)
    assert store.iterations("run") == [2]


def test_the_newest_goes_where_it_is_known_to_be_damaged(
    store: LocalWeightsStore, fill: Callable[..., None]
) -> None:
    fill(1, 2)
    store.filesystem.write_bytes("run/checkpoints/iterations/2", b"")
    store.remove("run", 2)
    assert store.iterations("run") == [1]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become nobody")
def test_by_force_in_a_store_that_is_read_only(run: Any) -> None:
    # pytest's own folders are closed to others
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        store = LocalWeightsStore(folder)
        store.store_weights(run, 7)
        store.store_best("run", 7, "val", "dice")
        before = sorted(Path(folder).rglob("*"))
        os.seteuid(65534)
        try:
            with pytest.raises(StoreNotWritableError, match="cannot write"):
                store.remove("run", 7, force=True)
        finally:
            os.seteuid(0)
        assert sorted(Path(folder).rglob("*")) == before

"""Removing one checkpoint by hand, where that cannot be done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from dacapo_core.store.errors import MissingCheckpointError, StoreNotWritableError
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

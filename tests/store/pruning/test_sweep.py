"""Sweeping: what is left over goes, and one run stops no other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dacapo_core.store.errors import SweepError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from tests.store.records_of_a_store import records_of

Fill = Callable[..., None]


def test_sweep_removes_records_without_a_checkpoint(store: LocalWeightsStore, fill: Fill) -> None:
    fill(100, 200)
    store.request_validation("run", 200, within=timedelta(seconds=-1))
    store.filesystem.delete(["run/checkpoints/iterations/100"])
    swept = store.sweep("run")["run"]
    assert set(swept.left_overs) == {
        "run/records/checkpoints/100.json",
        "run/records/pending/200.json",
    }
    assert records_of(store) == {200}


def test_one_run_that_cannot_be_swept_does_not_stop_the_others(
    store: LocalWeightsStore, run: Any
) -> None:
    for run.name in ("a", "b", "c"):
        for iteration in (100, 200):
            store.store_weights(run, iteration)
        store.prune(run.name, RetentionPolicy(keep_last=1, grace=timedelta(milliseconds=1)))
    store.filesystem.write_bytes("b/val/dice.json", b"{")
    with pytest.raises(SweepError, match=r"1 runs could not be swept, 2 were: b: .*dice\.json"):
        store.sweep()
    assert [store.iterations(name) for name in "abc"] == [[200], [100, 200], [200]]
    for act in (store.sweep, store.pins, lambda name: store.restore(name, 5)):
        with pytest.raises(FileNotFoundError, match="there is no run 'nope'"):
            act("nope")

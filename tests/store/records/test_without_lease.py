"""Storing into a run without holding its lease, on each backend."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dacapo_core.store.errors import LeaseHeldError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.lease import LeaseRecord
from dacapo_core.store.records.process_identity import ProcessIdentity


def held_elsewhere(store: LocalWeightsStore, renewed: datetime, epoch: int = 0) -> None:
    """The lease of a process on another machine."""
    record = LeaseRecord(
        owner="a node far away",
        token="its own",
        process=ProcessIdentity(host="far", pid=7, boot="another"),
        acquired=renewed,
        renewed=renewed,
        seconds_to_live=90,
    )
    path = f"run/records/lease/{epoch}.json"
    store.filesystem.write_bytes(path, record.model_dump_json().encode())


def test_a_run_that_is_trained_elsewhere_is_refused(store: LocalWeightsStore, run: Any) -> None:
    held_elsewhere(store, datetime.now(UTC))
    with pytest.raises(LeaseHeldError, match="a node far away"):
        store.store_weights(run, 1)
    assert store.iterations("run") == []


def test_a_stale_holder_holds_nobody_off(store: LocalWeightsStore, run: Any) -> None:
    held_elsewhere(store, datetime.now(UTC) - timedelta(hours=1))
    store.store_weights(run, 1)
    assert store.iterations("run") == [1]


def test_the_lease_of_another_store_of_this_process_is_its_own(
    store: LocalWeightsStore, run: Any, open_store: Callable[[], LocalWeightsStore]
) -> None:
    with open_store().lease("run"):
        store.store_weights(run, 1)
    store.store_weights(run, 2)
    assert store.iterations("run") == [1, 2]


def test_a_lost_lease_that_was_given_back_protects_the_one_who_has_it(
    store: LocalWeightsStore, run: Any
) -> None:
    with store.lease("run"):
        store.store_weights(run, 1)
        held_elsewhere(store, datetime.now(UTC), epoch=1)
    with pytest.raises(LeaseHeldError, match="a node far away"):
        store.store_weights(run, 2)
    assert store.iterations("run") == [1]

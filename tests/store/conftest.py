"""Stores on each backend, and a run small enough to store often."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoresRecord

BACKENDS = [
    "local",
    "memory",
    pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.slow]),
]


class TinyRun:
    """What a store takes as a run."""

    def __init__(self, name: str = "run") -> None:
        self.name = name
        self.model = torch.nn.Linear(2, 2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)


OpenStore = Callable[[], LocalWeightsStore]


@pytest.fixture(params=BACKENDS)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the test's own store; each call as another process would."""
    location: str = str(tmp_path / "store")
    options: dict[str, Any] = {}
    if request.param == "memory":
        location = f"memory://{uuid.uuid4().hex}"
    elif request.param == "s3":
        server = request.getfixturevalue("s3_server")
        location, options = f"{server.new_folder()}/store", server.storage_options
    return lambda: LocalWeightsStore(location, options)


@pytest.fixture
def store(open_store: OpenStore) -> LocalWeightsStore:
    return open_store()


@pytest.fixture
def run() -> TinyRun:
    return TinyRun()


@pytest.fixture
def fill(store: LocalWeightsStore, run: TinyRun) -> Callable[..., None]:
    """Stores checkpoints of iterations, then scores by iteration: ``fill(1, 2, dice={1: 0.5})``."""

    def fill_with(*iterations: int, **scores: dict[int, float | None]) -> None:
        for iteration in iterations:
            store.store_weights(run, iteration)
        for criterion, by_iteration in scores.items():
            for iteration, score in by_iteration.items():
                write_score(store, run.name, iteration, criterion, score)

    return fill_with


def write_score(
    store: LocalWeightsStore, run: str, iteration: int, criterion: str, score: float | None
) -> None:
    record = ScoresRecord.model_validate(
        {
            "iteration": iteration,
            "dataset": f"val_{criterion}",
            "criteria": {criterion: criterion != "voi"},
            "entries": [{"parameters": {"threshold": 0.5}, "scores": {criterion: score}}],
        }
    )
    store.store_scores(run, iteration, record.dataset, record)

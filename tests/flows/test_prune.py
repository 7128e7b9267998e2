"""The prune flow over a store: which runs, what a dry run does, and what a failure does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from prefect.artifacts import Artifact

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from flows.prune import choose, prune
from tasks.restore import restore

LAST_ONE = RetentionPolicy(keep_last=1)


def test_a_name_is_literal_before_it_is_a_pattern() -> None:
    runs = ["a[1]", "a1", "b"]
    assert choose(["a[1]"], runs) == ["a[1]"]
    assert choose(["a[12]"], runs) == ["a1"]
    assert choose(["b", "a*"], runs) == ["a1", "a[1]", "b"]
    assert choose(["*"], []) == []
    with pytest.raises(FileNotFoundError, match="no run 'c'; the store's runs: a"):
        choose(["c"], runs)


@pytest.fixture
def store(tmp_path: Path) -> LocalWeightsStore:
    """Two runs of three small checkpoints each."""
    store = LocalWeightsStore(tmp_path)
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters())
    for name in ("one", "two"):
        for iteration in (10, 20, 30):
            run = SimpleNamespace(name=name, model=model, optimizer=optimizer)
            store.store_weights(run, iteration)
    return store


@pytest.mark.slow
@pytest.mark.prefect
def test_a_dry_run_says_what_the_real_one_does_and_does_nothing(
    prefect_server: str, store: LocalWeightsStore
) -> None:
    url = str(store.basedir)
    planned = prune(["*"], url, LAST_ONE, dry_run=True)
    assert store.iterations("one") == store.iterations("two") == [10, 20, 30]
    assert prune(["*"], url, LAST_ONE) == planned == {"one": [10, 20], "two": [10, 20]}
    assert store.iterations("one") == store.iterations("two") == [30]
    summary = Artifact.get("pruning-summary")
    assert summary is not None
    assert "| one | 2 | 10, 20 |" in str(summary.data)


@pytest.mark.slow
@pytest.mark.prefect
def test_within_its_grace_period_a_checkpoint_comes_back(
    prefect_server: str, store: LocalWeightsStore
) -> None:
    url = str(store.basedir)
    grace = RetentionPolicy.model_validate({"keep_last": 1, "grace": "7d"})
    prune(["one"], url, grace)
    assert store.iterations("one") == [10, 20, 30]
    page = Artifact.get("pruning-one")
    assert page is not None
    assert "2 marked" in str(page.data)
    assert restore.fn("one", 10, url)
    assert store.history("one").checkpoints[10].fate == "kept"
    assert store.history("one").checkpoints[20].fate == "marked"

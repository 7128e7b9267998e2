"""The validate flow, called by hand: what it reads stays until it is judged."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from flows import validate as validate_flow
from flows.train import train
from flows.validate import validate
from tasks.load_checkpoint import load_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

LAST_ONE = RetentionPolicy(keep_last=1)


def test_a_pruner_beside_it_takes_nothing_that_is_yet_to_be_judged(
    prefect_server: str, tmp_path: Path, tiny: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalWeightsStore(tmp_path)
    train(tiny, store.basedir, RetentionPolicy(keep_every=1))
    store.withdraw_after("tiny", 0)
    waiting: list[list[int]] = []

    def prune_and_load(run: str, iteration: int) -> None:
        waiting.append(store.pending(run))
        store.prune(run, LAST_ONE)
        load_checkpoint(run, iteration)

    monkeypatch.setattr(validate_flow, "load_checkpoint", prune_and_load)
    assert set(validate("tiny", store=store.basedir)) == {2, 4, 6}
    assert waiting == [[2, 4, 6], [4, 6], [6]]
    assert store.pending("tiny") == []


@pytest.fixture
def unreadable(tmp_path: Path) -> LocalWeightsStore:
    """A run whose configuration nobody knows: it cannot be judged."""
    store = LocalWeightsStore(tmp_path)
    model = torch.nn.Linear(2, 2)
    run = SimpleNamespace(
        name="foreign", model=model, optimizer=torch.optim.SGD(model.parameters())
    )
    for iteration in (10, 20, 30):
        store.store_weights(run, iteration)
    return store


def test_one_that_fails_protects_nothing_any_more_but_what_another_had_asked_for(
    prefect_server: str, unreadable: LocalWeightsStore
) -> None:
    store = unreadable
    store.request_validation("foreign", 20, within=timedelta(hours=1))
    with pytest.raises(FileNotFoundError, match="no configuration of run 'foreign'"):
        validate("foreign", [10, 20], store.basedir)
    assert store.pending("foreign") == [20]


def test_a_checkpoint_that_is_not_there_is_said_before_any_is_judged(
    prefect_server: str, unreadable: LocalWeightsStore
) -> None:
    with pytest.raises(FileNotFoundError, match="99"):
        validate("foreign", [10, 99], unreadable.basedir)
    assert unreadable.pending("foreign") == []

"""Models inside torch.compile and data parallelism: stored plain, loaded either way."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn


class Compiled(nn.Module):
    """What ``torch.compile`` puts around a module, without the seconds that importing it takes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._orig_mod(x)
        return result


def inside(model: nn.Module) -> nn.Module:
    model[1] = Compiled(nn.DataParallel(model[1]))  # type: ignore[operator, index]
    return model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda model: model,
    "compiled": Compiled,
    "parallel": nn.DataParallel,
    "parallel, compiled": lambda model: Compiled(nn.DataParallel(model)),
    "compiled, parallel": lambda model: nn.DataParallel(Compiled(model)),
    "inside": inside,
    "inside and around": lambda model: nn.DataParallel(Compiled(inside(model))),
}


def wrapped(run: Any, how: str) -> Any:
    run.model = WRAPPERS[how](run.model)
    return run


@pytest.mark.parametrize("how", list(WRAPPERS))
def test_what_is_stored_has_the_plain_models_names(
    local_store: Any, make_run: Any, same: Any, how: str
) -> None:
    plain = make_run().model.state_dict()
    local_store.store_weights(wrapped(make_run(), how), 7)
    for stored in (
        local_store.retrieve_model("run", 7),
        torch.load(
            io.BytesIO(local_store.filesystem.read_bytes("run/checkpoints/iterations/7")),
            weights_only=True,
        )["model"],
    ):
        assert same(dict(stored), dict(plain))
        assert stored._metadata == plain._metadata


@pytest.mark.parametrize("loader", list(WRAPPERS))
def test_it_loads_into_any_nesting(local_store: Any, make_run: Any, same: Any, loader: str) -> None:
    run = make_run()
    local_store.store_weights(wrapped(run, "compiled, parallel"), 7)
    other = wrapped(make_run(seed=1), loader)
    local_store.load_weights(other, 7)
    assert same(list(other.model.state_dict().values()), list(run.model.state_dict().values()))
    assert same(other.optimizer.state_dict(), run.optimizer.state_dict())


@pytest.mark.parametrize("stored", list(WRAPPERS))
@pytest.mark.parametrize("loader", ["plain", "compiled", "inside and around"])
def test_checkpoints_with_the_wrappers_names_load_and_say_so(
    local_store: Any,
    make_run: Any,
    same: Any,
    stored: str,
    loader: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As DaCapo stores them, or this store did."""
    run = wrapped(make_run(), stored)
    state = run.model.state_dict()
    as_named = SimpleNamespace(state_dict=lambda: state)
    local_store.store_weights(
        SimpleNamespace(name="run", model=as_named, optimizer=run.optimizer), 7
    )
    other = wrapped(make_run(seed=1), loader)
    with caplog.at_level(logging.INFO):
        local_store.load_weights(other, 7)
    assert same(list(other.model.state_dict().values()), list(state.values()))
    assert ("under other names" in caplog.text) == (list(state) != list(other.model.state_dict()))


class Net(nn.Module):
    """Has a part that is called as data parallelism calls the model."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(2, 2)
        self.out = nn.Linear(2, 2)


def test_a_part_called_module_keeps_its_name(local_store: Any, make_run: Any, same: Any) -> None:
    run, other = make_run(), make_run()
    for each in (run, other):
        each.model = nn.DataParallel(Net())
        each.optimizer = torch.optim.AdamW(each.model.parameters())
    local_store.store_weights(run, 7)
    assert list(local_store.retrieve_model("run", 7)) == list(Net().state_dict())
    local_store.load_weights(other, 7)
    assert same(other.model.state_dict(), run.model.state_dict())


@pytest.mark.slow
def test_a_model_that_torch_compiled(local_store: Any, make_run: Any, same: Any) -> None:
    run, other = make_run(), make_run(seed=1)
    run.model = nn.DataParallel(torch.compile(run.model))  # type: ignore[arg-type]
    local_store.store_weights(run, 7)
    local_store.load_weights(other, 7)
    assert same(list(other.model.state_dict().values()), list(run.model.state_dict().values()))

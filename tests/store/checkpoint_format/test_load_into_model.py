"""Loading into a run: what does not fit is said by name, and the run stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dacapo_core.store.errors import StoreError, WeightsDoNotFitError


def with_bias(model: nn.Sequential) -> None:
    model[0] = nn.Conv3d(1, 4, 3, bias=False)


def deeper(model: nn.Sequential) -> None:
    model.append(nn.Conv3d(2, 2, 1))


def wider(model: nn.Sequential) -> None:
    model[2] = nn.Conv3d(4, 3, 1)


def in_half(model: nn.Sequential) -> None:
    model[0].half()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_bias, "0.bias (4 float32) is not in the model"),
        (deeper, "3.weight (2×2×1×1×1 float32) is not in it"),
        (wider, "2.weight has shape 2×4×1×1×1 in it, 3×4×1×1×1 in the model"),
        (in_half, "0.weight is float32 in it, float16 in the model"),
    ],
)
def test_another_model_is_left_as_it_was(
    local_store: Any, make_run: Any, same: Any, change: Callable[[Any], None], said: str
) -> None:
    local_store.store_weights(make_run(), 7)
    local_store.store_best("run", 7, "val", "dice")
    other = make_run(seed=1)
    change(other.model)
    before = other.copy_of_state()
    for load in (
        lambda: local_store.load_weights(other, 7),
        lambda: local_store.load_best(other, "val", "dice"),
    ):
        with pytest.raises(WeightsDoNotFitError, match="checkpoint 7 of run 'run'") as raised:
            load()
        assert any(said in difference for difference in raised.value.differences)
        assert said in str(raised.value)
        assert isinstance(raised.value, StoreError)
        assert same(other.copy_of_state(), before)


def test_every_difference_is_counted(local_store: Any, make_run: Any) -> None:
    local_store.store_weights(make_run(), 7)
    with pytest.raises(WeightsDoNotFitError, match="and 12 more") as raised:
        local_store.load_weights(make_run(width=5), 7)
    # seven tensors of the model, and two moments of each of its five parameters
    assert len(raised.value.differences) == 17


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters)


def two_groups(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW([{"params": parameters[:2]}, {"params": parameters[2:]}])


def fewer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters[:-1])


def turned(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters[::-1])


def descent(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


@pytest.mark.parametrize(
    ("stored", "mine", "said"),
    [
        (adam, two_groups, "the optimizer has 1 groups of parameters in it, 2 here"),
        (two_groups, adam, "the optimizer has 2 groups of parameters in it, 1 here"),
        (adam, fewer, "group 0 of the optimizer has 6 parameters in it, 5 here"),
        (adam, turned, "exp_avg of parameter 0 of group 0 of the optimizer has shape"),
        (descent, adam, "has no betas, eps in it, which AdamW needs"),
        (adam, descent, "has no dampening, momentum, nesterov in it, which SGD needs"),
    ],
)
def test_another_optimizer_is_refused_before_the_model_is_touched(
    local_store: Any,
    make_run: Any,
    same: Any,
    stored: Callable[..., Any],
    mine: Callable[..., Any],
    said: str,
) -> None:
    run, other = make_run(), make_run(seed=1)
    for each, make in ((run, stored), (other, mine)):
        each.optimizer = make(list(each.model.parameters()))
        each.step()
    local_store.store_weights(run, 7)
    before = other.copy_of_state()
    with pytest.raises(WeightsDoNotFitError) as raised:
        local_store.load_weights(other, 7)
    assert said in str(raised.value)
    assert same(other.copy_of_state(), before)


def test_groups_of_other_names_are_refused(local_store: Any, make_run: Any) -> None:
    run, other = make_run(), make_run()
    for each, name in ((run, "backbone"), (other, "head")):
        each.optimizer = torch.optim.AdamW([{"params": each.model.parameters(), "name": name}])
    local_store.store_weights(run, 7)
    with pytest.raises(WeightsDoNotFitError, match="is 'backbone' in it, 'head' here"):
        local_store.load_weights(other, 7)


def test_a_checkpoint_without_an_optimizer_says_so(local_store: Any, make_run: Any) -> None:
    run = make_run()
    local_store.store_weights(
        SimpleNamespace(name="run", model=run.model, optimizer=SimpleNamespace(state_dict=dict)),
        7,
    )
    with pytest.raises(WeightsDoNotFitError, match="no state of an optimizer"):
        local_store.load_weights(run, 7)


def test_what_fits_comes_with_its_settings(local_store: Any, make_run: Any, same: Any) -> None:
    run, other = make_run(), make_run(seed=1)
    run.optimizer = torch.optim.AdamW(run.model.parameters(), lr=0.5, amsgrad=True)
    run.step()
    # torch gives groups more keys from version to version, and schedules add theirs
    del run.optimizer.param_groups[0]["decoupled_weight_decay"]
    run.optimizer.param_groups[0]["initial_lr"] = 0.5
    local_store.store_weights(run, 7)
    local_store.load_weights(other, 7)
    assert same(other.model.state_dict(), run.model.state_dict())
    assert other.optimizer.param_groups[0]["lr"] == 0.5
    assert "max_exp_avg_sq" in other.optimizer.state[other.model[0].weight]
    other.step()


def test_a_model_may_translate_names_itself(local_store: Any, make_run: Any, same: Any) -> None:
    def old_names(state: dict[str, Any], prefix: str, *_: Any) -> None:
        if "old" in state:
            state["0.bias"] = state.pop("old")

    run, other = make_run(), make_run(seed=1)
    state = run.model.state_dict()
    state["old"] = state.pop("0.bias")
    renamed = SimpleNamespace(
        name="run", model=SimpleNamespace(state_dict=lambda: state), optimizer=run.optimizer
    )
    local_store.store_weights(renamed, 7)
    other.model._register_load_state_dict_pre_hook(old_names)
    local_store.load_weights(other, 7)
    assert same(other.model.state_dict(), run.model.state_dict())

    state["new"] = state.pop("old")
    local_store.store_weights(renamed, 8)
    other.step()
    before = other.copy_of_state()
    with pytest.raises(WeightsDoNotFitError, match=r"0\.bias"):
        local_store.load_weights(other, 8)
    assert same(other.copy_of_state(), before)

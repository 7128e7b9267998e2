"""The training step: accumulation, clipping, the guard against what is not finite, memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from dacapo_core.data.batch_source import Batch
from dacapo_core.training.errors import OutOfMemoryError
from dacapo_core.training.step import TrainingStep

CPU = torch.device("cpu")


def squared_error(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    return ((prediction - target).square() * weight).mean()


def step_for(model: nn.Module, *, fp16: bool = False, **settings: Any) -> TrainingStep:
    return TrainingStep(
        model,
        settings.pop("loss", squared_error),
        torch.optim.SGD(model.parameters(), lr=0.1),
        torch.amp.GradScaler("cpu", enabled=fp16),
        CPU,
        torch.float16 if fp16 else torch.float32,
        **settings,
    )


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv3d(1, 2, 3, padding=1)


def batch(size: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    shape = (size, 2, 6, 6, 6)
    return Batch(
        torch.randn(size, 1, 6, 6, 6, generator=generator),
        torch.randn(shape, generator=generator),
        torch.ones(shape),
    )


def parts(whole: Batch, count: int) -> list[Batch]:
    return [
        Batch(*arrays)
        for arrays in zip(
            whole.raw.chunk(count),
            whole.target.chunk(count),
            whole.weight.chunk(count),
            strict=True,
        )
    ]


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_accumulated_parts_are_the_whole_batch() -> None:
    whole, split = network(), network()
    results = [step_for(whole)([batch(4)]), step_for(split)(parts(batch(4), 4))]
    torch.testing.assert_close(results[0][:2], results[1][:2], rtol=1e-5, atol=0)
    torch.testing.assert_close(weights(whole), weights(split))
    assert not torch.equal(weights(whole), weights(network()))


def test_clipping_bounds_the_step_and_reports_the_norm_before_it() -> None:
    model = network()
    norm = step_for(model, gradient_clip=0.01)([batch(2)]).norm
    assert norm > 0.1
    moved = (weights(model) - weights(network())).norm()
    assert moved == pytest.approx(0.1 * 0.01, rel=1e-3)


@pytest.mark.parametrize("fp16", [False, True])
@pytest.mark.parametrize("place", ["raw", "loss"])
def test_a_step_that_is_not_finite_changes_no_weight_and_the_next_one_works(
    place: str, fp16: bool
) -> None:
    model = network()
    step = step_for(model, fp16=fp16)
    bad = copy.deepcopy(batch(2))
    if place == "raw":
        bad.raw[0, 0, 3, 3, 3] = torch.nan
    else:
        bad.target[0, 0, 3, 3, 3] = torch.inf
    before = weights(model)
    result = step([bad])
    assert not result.loss.isfinite()
    assert not result.taken
    assert torch.equal(weights(model), before)
    # float16 begins with a scale that may be too large; it halves until a step is taken
    for _ in range(20):
        loss, norm, taken = step([batch(2)])
    assert taken
    assert loss.isfinite()
    assert norm.isfinite()
    assert torch.isfinite(weights(model)).all()
    assert not torch.equal(weights(model), before)


def test_a_gradient_that_is_not_finite_is_skipped_though_the_loss_is_finite() -> None:
    def root(prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return (prediction * 0).sqrt().sum()

    model = network()
    before = weights(model)
    loss, norm, taken = step_for(model, loss=root)([batch(1)])
    assert loss == 0
    assert norm != norm
    assert not taken
    assert torch.equal(weights(model), before)


def test_running_out_of_memory_says_what_to_turn_down() -> None:
    def greedy(
        prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        return prediction.sum() * torch.ones(1 << 50).sum()

    model = network()
    before = weights(model)
    with pytest.raises(OutOfMemoryError, match=r"2×1×6×6×6 .*gradient_accumulation.*batch_size"):
        step_for(model, loss=greedy)([batch(2)])
    assert torch.equal(weights(model), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise AssertionError("symbolic powers")

    plain, model = network(), network()
    step = step_for(model)
    step.model = torch.compile(model, backend=broken)  # type: ignore[assignment]
    with caplog.at_level("WARNING"):
        results = [step([batch(2)]), step([batch(2, 1)])]
    said = [line for line in caplog.messages if "cannot be compiled" in line]
    assert len(said) == 1
    assert "symbolic powers" in said[0]
    expected = step_for(plain)
    assert [result.loss for result in results] == [
        expected([batch(2)]).loss,
        expected([batch(2, 1)]).loss,
    ]
    assert torch.equal(weights(model), weights(plain))


def test_room_is_made_on_the_device_before_memory_is_said_to_be_lacking() -> None:
    asked: list[bool] = []

    def make_room() -> bool:
        asked.append(True)
        return len(asked) == 1

    def greedy(
        prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        if len(asked) != 1:
            return prediction.sum() * torch.ones(1 << 50).sum()
        return squared_error(prediction, target, weight)

    model, plain = network(), network()
    result = step_for(model, loss=greedy, make_room=make_room)([batch(2)])
    assert result.taken
    step_for(plain)([batch(2)])
    assert torch.equal(weights(model), weights(plain))
    asked.clear()
    with pytest.raises(OutOfMemoryError):
        step_for(model, loss=greedy, make_room=lambda: False)([batch(2)])


def test_room_is_made_for_a_step_that_is_tried_out_and_nothing_else_changes() -> None:
    asked: list[bool] = []

    def make_room() -> bool:
        asked.append(True)
        return len(asked) < 3

    def greedy(
        prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        if len(asked) < 2:
            return prediction.sum() * torch.ones(1 << 50).sum()
        return squared_error(prediction, target, weight)

    model = nn.Sequential(network(), nn.BatchNorm3d(2))
    before = copy.deepcopy(model.state_dict())
    step_for(model, loss=greedy, make_room=make_room).try_out(batch(2))
    assert len(asked) == 2
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    # where no room can be made, that is for the step to say
    asked.clear()
    step_for(model, loss=greedy, make_room=lambda: False).try_out(batch(2))


def test_a_faulty_batch_changes_nothing() -> None:
    model = network()
    before = weights(model)
    for fault in (True, False):
        whole = batch(2)
        result = step_for(model)(
            [Batch(whole.raw, whole.target, whole.weight, torch.tensor(fault))]
        )
        assert bool(result.taken) is not fault
        assert torch.equal(weights(model), before) is fault

"""Reading a checkpoint straight to a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.store.errors import DamagedCheckpointError

FILE = "run/checkpoints/iterations/7"
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
        ],
    ),
]


def on_the_host(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: on_the_host(item) for key, item in value.items()}
    return type(value)(map(on_the_host, value)) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("verify", [True, False])
def test_it_holds_what_was_stored(
    local_store: Any, make_run: Any, same: Any, device: str, verify: bool
) -> None:
    run = make_run()
    tied = torch.arange(6.0)
    run.extra_state = lambda: {"seen": tied, "also": tied, "none": torch.empty(0, 2)}
    local_store.store_weights(run, 7)
    weights = local_store.retrieve_weights("run", 7, verify=verify, device=device)
    assert {tensor.device.type for tensor in weights.model.values()} == {device}
    assert same(on_the_host(dict(weights.model)), on_the_host(dict(run.model.state_dict())))
    assert same(on_the_host(weights.optimizer), on_the_host(run.optimizer.state_dict()))
    assert same(weights.extra, run.extra_state())
    assert weights.model._metadata == run.model.state_dict()._metadata


def test_more_than_a_few_pieces_arrive_in_order(
    local_store: Any, make_state_run: Any, same: Any
) -> None:
    state = {str(n): torch.randn(n * 700_000 + 1) for n in range(4)} | {"none": torch.empty(0, 3)}
    optimizer = {"kept": torch.randn(3).t(), "part": torch.randn(9, 8)[:, ::2], "number": 2}
    local_store.store_weights(make_state_run(state, optimizer), 7)
    weights = local_store.retrieve_weights("run", 7, device="cpu")
    assert same(weights.model, state)
    assert same(weights.optimizer, optimizer)


@pytest.mark.parametrize("device", DEVICES)
def test_damage_is_named_and_the_run_left_alone(
    local_store: Any, make_run: Any, tmp_path: Path, same: Any, device: str
) -> None:
    run = make_run()
    local_store.store_weights(run, 7)
    with open(tmp_path / "store" / FILE, "r+b") as file:
        file.seek(200)
        byte = file.read(1)
        file.seek(200)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(DamagedCheckpointError, match=r"tensor model/0\.weight"):
        local_store.retrieve_weights("run", 7, device=device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_run_on_a_gpu_goes_on_as_it_was(local_store: Any, make_run: Any, same: Any) -> None:
    run, other = make_run(), make_run(seed=1)
    for each in (run, other):
        each.model.cuda()
        each.optimizer = torch.optim.AdamW(each.model.parameters(), fused=each is run)
        for parameter in each.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        each.optimizer.step()
    local_store.store_weights(run, 7)
    before = torch.cuda.memory_allocated()
    weights = local_store.load_weights(other, 7)
    assert all(tensor.is_cuda for tensor in weights.model.values())
    del weights
    assert torch.cuda.memory_allocated() <= before + 4096
    assert same(dict(other.model.state_dict()), dict(run.model.state_dict()))
    other.optimizer.step()

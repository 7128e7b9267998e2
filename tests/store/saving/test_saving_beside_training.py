"""Copies that run beside training: whole, whatever changes the state and when.

The tests that need a GPU import neither prefect nor zarr, so they run where only torch is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.saving.device_to_host import DeviceCopies
from dacapo_core.store.saving.host_buffers import HostBuffers
from dacapo_core.store.saving.state_fence import StateFence

on_a_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=on_a_gpu)]


class NormRun:
    """Convolutions and running statistics, of some small tensors and one of 8 MiB."""

    def __init__(self, device: str, fence: bool, megabytes: int = 8) -> None:
        torch.manual_seed(0)
        self.name = "run"
        self.model = nn.Sequential(
            nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.Conv3d(4, 2, 1), nn.Flatten(1),
            nn.Linear(2 * 64, megabytes * 2048),
        ).to(device)  # fmt: skip
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.average = {key: value.clone() for key, value in self.model.state_dict().items()}
        self.device = device
        if fence:
            self.state_fence = StateFence()
            self.optimizer.register_step_pre_hook(self.state_fence.wait)
        self.train()

    def extra_state(self) -> dict[str, Any]:
        return {"average": self.average, "seen": 1, "empty": torch.empty(0, 2, device=self.device)}

    def tensors(self) -> list[torch.Tensor]:
        moments = [v for each in self.optimizer.state.values() for v in each.values()]
        return [*self.model.state_dict().values(), *moments, *self.average.values()]

    def copy(self) -> list[torch.Tensor]:
        return [tensor.detach().to("cpu", copy=True) for tensor in self.tensors()]

    def train(self) -> None:
        """Change every tensor: statistics in the forward pass, then weights, then the average."""
        self.optimizer.zero_grad()
        self.model(torch.randn(2, 1, 6, 6, 6, device=self.device)).square().mean().backward()
        self.optimizer.step()
        for key, value in self.model.state_dict().items():
            self.average[key].copy_(value)

    def overwrite(self) -> None:
        with torch.no_grad():
            for tensor in self.tensors():
                tensor.fill_(7)


def stored(store: LocalWeightsStore, iteration: int) -> list[torch.Tensor]:
    weights = store.retrieve_weights("run", iteration)
    moments = [v for each in weights.optimizer["state"].values() for v in each.values()]
    return [*weights.model.values(), *moments, *weights.extra["average"].values()]


@pytest.fixture(params=["as this device does it", "as a GPU does it"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> LocalWeightsStore:
    """A store whose copies from host memory too go the way that those from a GPU go."""
    opened = LocalWeightsStore(tmp_path / "store")
    if request.param == "as a GPU does it":
        monkeypatch.setattr(opened, "_buffers", HostBuffers(beside=("cpu", "cuda")))
    return opened


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("fence", "change"),
    [(True, NormRun.train), (False, NormRun.train), (False, NormRun.overwrite)],
    ids=["a step, fenced", "a step", "everything written over"],
)
def test_what_changes_right_after_the_call_is_stored_as_it_was(
    store: LocalWeightsStore,
    device: str,
    fence: bool,
    change: Callable[[NormRun], None],
    same: Callable[[Any, Any], bool],
) -> None:
    run = NormRun(device, fence)
    for iteration in range(4):
        before = run.copy()
        store.store_weights(run, iteration, wait=iteration == 2)
        change(run)
        assert same(stored(store, iteration), before)
        assert store.verify("run", iteration).against == "digests"


@pytest.mark.parametrize("device", DEVICES)
def test_a_fence_that_was_waited_at_lets_everything_be_written_over(
    store: LocalWeightsStore, device: str, same: Callable[[Any, Any], bool]
) -> None:
    run = NormRun(device, fence=True, megabytes=32)
    for iteration in range(3):
        before = run.copy()
        store.store_weights(run, iteration, wait=False)
        run.state_fence.wait()
        run.overwrite()
        assert same(stored(store, iteration), before)
        run.train()


def test_loading_waits_at_the_fence(store: LocalWeightsStore) -> None:
    run = NormRun("cpu", fence=True)
    store.store_weights(run, 1)
    waited: list[bool] = []
    run.state_fence.put_up(lambda: waited.append(True))
    store.load_weights(run, 1)
    assert waited == [True]
    run.optimizer.step()
    assert waited == [True]


@pytest.mark.parametrize("device", DEVICES)
def test_copies_in_packs_arrive_whole(device: str) -> None:
    shapes = [(3,), (5, 7), (), (1 << 19,), (2, 3, 4), *[(1 << 18,)] * 40, (1 << 21,), (9,)]
    types = [torch.float32, torch.int64, torch.float32, torch.float64, torch.bool]
    sources = [
        torch.randint(0, 2, shape, device=device).to(types[number % len(types)])
        for number, shape in enumerate(shapes)
    ]
    sources[4] = sources[4].transpose(0, 2).contiguous().transpose(0, 2)
    places, total = [], 0
    for source in sources:
        places.append(total)
        total += -(-source.nbytes // 64) * 64
    arena = torch.zeros(total, dtype=torch.uint8, pin_memory=device == "cuda")
    targets = [
        torch.empty(0, dtype=source.dtype).set_(
            arena.untyped_storage(), place // source.itemsize, source.shape, source.stride()
        )
        for source, place in zip(sources, places, strict=True)
    ]
    copies = DeviceCopies(torch.device(device), targets, arena)
    for _ in range(2):
        early, whole = copies.start(sources, 3)
        early.hold_device()
        whole.settle()
        for target, source in zip(targets, sources, strict=True):
            assert torch.equal(target, source.cpu())
        for source in sources:
            source.copy_(source.logical_not())

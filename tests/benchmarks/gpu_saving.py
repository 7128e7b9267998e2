"""What saving and loading cost a GPU run, as ratios to references measured in the same run.

``python tests/benchmarks/gpu_saving.py [--device cuda] [--folder FOLDER] [--repeats N]`` prints a
Markdown table; `measure` gives its rows. Needs torch and the store alone. What is shown is the
median over repeats, of ratios with their quartiles; all methods take turns within each repeat.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.saving.state_fence import StateFence

LAYERS = 20
STEPS = 3


class Row(NamedTuple):
    """One line of the table; times in seconds, one a repeat."""

    name: str
    times: list[float]
    reference: str
    reference_times: list[float]
    aim: float | None

    @property
    def ratio(self) -> float:
        return statistics.median(self._ratios())

    def __str__(self) -> str:
        low, middle, high = statistics.quantiles(self._ratios(), n=4, method="inclusive")
        shown = [1000 * statistics.median(times) for times in (self.times, self.reference_times)]
        return (
            f"| {self.name} | {shown[0]:.2f} | {self.reference} | {shown[1]:.2f} | "
            f"**{middle:.2f}** ({low:.2f}–{high:.2f}) | {f'≤ {self.aim}' if self.aim else ''} |"
        )

    def _ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.times, self.reference_times, strict=True)]


class SavedRun:
    """Convolutions with AdamW whose states have the given size, and steps of a given length."""

    name = "run"

    def __init__(self, megabytes: float, device: torch.device, step_seconds: float) -> None:
        self.device = device
        width = max(1, round((megabytes * 1e6 / 4 / 3 / LAYERS / 27) ** 0.5))
        layers = [nn.Conv3d(width, width, 3, padding=1) for _ in range(LAYERS)]
        self.model = nn.Sequential(*layers).to(device)
        cuda = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=cuda)
        self.state_fence = StateFence()
        self.optimizer.register_step_pre_hook(self.state_fence.wait)
        size = 4
        while True:
            self.batch = torch.randn(1, width, size, size, size, device=device)
            self.step()
            if timed(self.step, self.wait) >= step_seconds:
                return
            size += 4

    def step(self) -> None:
        with torch.autocast(self.device.type, torch.bfloat16):
            self.model(self.batch).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def steps(self) -> None:
        for _ in range(STEPS):
            self.step()

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def tensors(self) -> list[torch.Tensor]:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return list(_tensors(state))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def timed(method: Callable[[], Any], wait: Callable[[], None]) -> float:
    wait()
    start = time.perf_counter()
    method()
    wait()
    return time.perf_counter() - start


def measure(
    device: str | torch.device,
    folder: Path,
    *,
    megabytes: Sequence[float] = (416, 2800),
    aims: Sequence[float | None] = (0.5, 0.1),
    repeats: int = 9,
    step_seconds: float = 0.07,
) -> list[Row]:
    """The rows for states of these sizes, each with its aim for what a save adds."""
    rows: list[Row] = []
    for size, aim in zip(megabytes, aims, strict=True):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            run = SavedRun(size, torch.device(device), step_seconds)
            rows += _measure(run, Path(name), f"{size:g} MB", aim, repeats)
            del run
    return rows


def _measure(run: SavedRun, folder: Path, size: str, aim: float | None, repeats: int) -> list[Row]:
    store = LocalWeightsStore(folder / "store")
    tensors = run.tensors()
    pinned = run.device.type == "cuda"
    kept = [torch.empty(t.shape, dtype=t.dtype, pin_memory=pinned) for t in tensors]
    store.store_weights(run, 0)
    content = bytearray((folder / "store/run/checkpoints/iterations/0").read_bytes())

    def copy() -> None:
        for to, tensor in zip(kept, tensors, strict=True):
            to.copy_(tensor, non_blocking=True)

    def save() -> None:
        store.store_weights(run, 1, wait=False)

    def save_and_step() -> None:
        save()
        run.steps()

    def settle() -> None:
        run.wait()
        store.wait()
        os.sync()

    def read() -> None:
        with open(folder / "store/run/checkpoints/iterations/0", "rb", buffering=0) as file:
            rest = memoryview(content)
            while rest:
                rest = rest[file.readinto(rest) :]

    methods: dict[str, tuple[Callable[[], Any], Callable[[], None]]] = {
        "copy": (copy, run.wait),
        "steps": (run.steps, run.wait),
        "save and steps": (save_and_step, run.wait),
        "call": (save, lambda: None),
        "read": (read, run.wait),
        "load": (lambda: store.load_weights(run, 0), run.wait),
    }
    times: dict[str, list[float]] = {name: [] for name in methods}
    for repeat in range(repeats + 1):
        for name, (method, wait) in methods.items():
            settle()
            seconds = timed(method, wait)
            # the first fills caches
            if repeat:
                times[name].append(seconds)
    settle()
    store.close()
    added = [a - b for a, b in zip(times["save and steps"], times["steps"], strict=True)]
    reference = "copy into kept pinned memory"
    return [
        Row(f"a save adds to {STEPS} steps, {size}", added, reference, times["copy"], aim),
        Row(f"the call blocks, {size}", times["call"], reference, times["copy"], None),
        Row(
            f"`load_weights` into the device, {size}",
            times["load"],
            "raw read into kept memory",
            times["read"],
            1.2,
        ),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--folder", type=Path, default=None)
    arguments.add_argument("--repeats", type=int, default=9)
    arguments.add_argument("--megabytes", type=float, nargs="+", default=[416, 2800])
    arguments.add_argument("--step", type=float, default=0.07, help="seconds of a step, at least")
    given = arguments.parse_args()
    aims = [0.1 if size > 1000 else 0.5 for size in given.megabytes]
    cuda = given.device.startswith("cuda")
    print(torch.cuda.get_device_name(given.device) if cuda else "CPU", f"torch {torch.__version__}")
    print("\n| | ms | reference | ms | ratio | aim |\n|---|---|---|---|---|---|")
    for row in measure(
        given.device,
        given.folder or Path(tempfile.gettempdir()),
        megabytes=given.megabytes,
        aims=aims,
        repeats=given.repeats,
        step_seconds=given.step,
    ):
        print(row)


if __name__ == "__main__":
    main()

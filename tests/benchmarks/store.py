"""What the weights store costs, as ratios to named references measured in the same run.

``python tests/benchmarks/store.py [--folder FOLDER] [--repeats N]`` prints Markdown tables. All
methods take turns within each repeat, in an order drawn anew; what is shown is the median over
repeats, and of ratios the median of the repeats' ratios with their quartiles. Where the quartiles
are far apart, or a reference costs more than what does all that it does and more, the machine was
too busy to tell. FOLDER should be on the disk that is asked about.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import xxhash

from dacapo_core.store.local_weights_store import LocalWeightsStore

Times = dict[str, list[float]]


class BenchmarkRun:
    """Convolutions and Adam; model and optimizer state together have the given size."""

    name = "run"

    def __init__(self, megabytes: float, layers: int = 20) -> None:
        width = round((megabytes * 1e6 / 4 / 3 / layers / 27) ** 0.5)
        self.model = torch.nn.Sequential(*(torch.nn.Conv3d(width, width, 3) for _ in range(layers)))
        self.optimizer = torch.optim.Adam(self.model.parameters())
        for parameter in self.model.parameters():
            parameter.grad = torch.rand_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}


def tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


class Saving:
    """The ways to save, each leaving the folder as it found it."""

    def __init__(self, run: BenchmarkRun, folder: Path) -> None:
        self.run = run
        self.folder = folder
        self.store = LocalWeightsStore(folder / "store")
        self.store.store_weights(run, 0)
        self.store.store_weights(run, 0, wait=False)
        self.store.wait()
        self.checkpoint = folder / "store/run/checkpoints/iterations/0"
        self.content = self.checkpoint.read_bytes()
        self.kept = [torch.empty_like(tensor) for tensor in tensors(run.state())]

    def copy_into_kept_buffers(self) -> None:
        for kept, tensor in zip(self.kept, tensors(self.run.state()), strict=True):
            kept.copy_(tensor)

    def raw_write_and_fsync(self) -> None:
        descriptor = os.open(self.folder / "raw", os.O_CREAT | os.O_WRONLY)
        rest = memoryview(self.content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
        os.close(descriptor)

    def store_blocking(self) -> None:
        self.store.store_weights(self.run, 1, wait=False)

    def store_durable(self) -> None:
        self.store.store_weights(self.run, 1)

    def torch_save(self) -> None:
        torch.save(self.run.state(), self.folder / "torch_save")

    def digest(self) -> None:
        xxhash.xxh3_128(self.content).digest()

    def clean(self) -> None:
        """Nothing of one method is left to another: no file, no dirty page."""
        self.store.wait()
        for path in self.folder.iterdir():
            if path.name != "store":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.folder / "store/run/checkpoints/iterations/1").unlink(missing_ok=True)
        os.sync()


class Peers:
    """Lightning's and torch DCP's saves of the same state; those that are installed."""

    def __init__(self, saving: Saving) -> None:
        self._state = saving.run.state
        self._folder = saving.folder
        self.methods: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {}
        with contextlib.suppress(ImportError):
            self._add_lightning()
        self._add_dcp()

    def _add_lightning(self) -> None:
        from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
        from lightning.pytorch.plugins.io.async_plugin import AsyncCheckpointIO

        plain = TorchCheckpointIO()
        asynchronous: list[Any] = []

        def save() -> None:
            plain.save_checkpoint(self._state(), self._folder / "lightning.ckpt")

        def save_async() -> None:
            asynchronous.append(AsyncCheckpointIO(TorchCheckpointIO()))
            asynchronous[-1].save_checkpoint(self._state(), str(self._folder / "async.ckpt"))

        self.methods["Lightning"] = (save, lambda: None)
        self.methods["Lightning, async"] = (save_async, lambda: asynchronous.pop().teardown())

    def _add_dcp(self) -> None:
        import torch.distributed as distributed
        from torch.distributed.checkpoint.state_dict_saver import async_save

        if not distributed.is_initialized():
            distributed.init_process_group(
                "gloo", store=distributed.HashStore(), rank=0, world_size=1
            )
        pending: list[Any] = []

        def save() -> None:
            pending.append(async_save(self._state(), checkpoint_id=self._folder / "dcp"))

        self.methods["torch DCP, async"] = (save, lambda: pending.pop().result())


def timed(times: Times, name: str, method: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = method()
    times.setdefault(name, []).append(time.perf_counter() - start)
    return result


def milliseconds(times: Times, name: str) -> str:
    return f"{statistics.median(times[name]) * 1000:.1f}"


def ratio(times: Times, name: str, reference: str) -> str:
    ratios = [a / b for a, b in zip(times[name], times[reference], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"**{middle:.2f}** ({low:.2f}–{high:.2f})"


def row(times: Times, name: str, reference: str, target: float | None = None) -> str:
    aim = f"≤ {target}" if target else ""
    return (
        f"| {name} | {milliseconds(times, name)} | {reference} | {milliseconds(times, reference)} "
        f"| {ratio(times, name, reference)} | {aim} |"
    )


def measure_saving(saving: Saving, repeats: int) -> None:
    times: Times = {}
    peers = Peers(saving).methods
    copy, raw = "copy_ into kept buffers", "raw write + fsync"
    methods: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        copy: (saving.copy_into_kept_buffers, lambda: None),
        "store_weights(wait=False) blocks": (saving.store_blocking, lambda: None),
        raw: (saving.raw_write_and_fsync, lambda: None),
        "store_weights durable": (saving.store_durable, lambda: None),
        "store_weights(wait=False) and wait()": (saving_and_waiting(saving), lambda: None),
        "torch.save to a path (DaCapo), not durable": (saving.torch_save, lambda: None),
        "xxh3_128 of the file": (saving.digest, lambda: None),
        **{f"{name}, blocks": method for name, method in peers.items()},
    }
    order = list(methods)
    for repeat in range(repeats + 1):
        if repeat == 1:
            times.clear()  # the first fills caches and imports
        random.Random(repeat).shuffle(order)
        for name in order:
            method, settle = methods[name]
            saving.clean()
            timed(times, name, method)
            settle()
    saving.clean()
    small = len(saving.content) < 100e6
    print(row(times, "store_weights(wait=False) blocks", copy, 1.2))
    print(row(times, "store_weights durable", raw, 1.5 if small else 1.25))
    print(row(times, "store_weights(wait=False) and wait()", raw))
    print(row(times, "xxh3_128 of the file", raw))
    print(row(times, "torch.save to a path (DaCapo), not durable", copy))
    for name in peers:
        print(row(times, f"{name}, blocks", copy))


def saving_and_waiting(saving: Saving) -> Callable[[], None]:
    def both() -> None:
        saving.store_blocking()
        saving.store.wait()

    return both


def measure_loading(saving: Saving, repeats: int) -> None:
    times: Times = {}
    kept = bytearray(len(saving.content))
    for _ in range(repeats):
        timed(times, "raw read into a kept buffer", lambda: read_into(saving.checkpoint, kept))
        timed(times, "retrieve_weights, verified", lambda: saving.store.retrieve_weights("run", 0))
        timed(times, "retrieve_model, verified", lambda: saving.store.retrieve_model("run", 0))
        timed(times, "torch.load", lambda: torch.load(saving.checkpoint, weights_only=True))
    print(row(times, "retrieve_weights, verified", "raw read into a kept buffer", 1.5))
    print(row(times, "retrieve_model, verified", "retrieve_weights, verified", 0.5))
    print(row(times, "torch.load", "raw read into a kept buffer"))


def read_into(path: Path, kept: bytearray) -> None:
    with open(path, "rb", buffering=0) as file:
        rest = memoryview(kept)
        while rest:
            rest = rest[file.readinto(rest) :]


def measure_finding(folder: Path, count: int, repeats: int) -> None:
    iterations = folder / f"many/run{count}/checkpoints/iterations"
    iterations.mkdir(parents=True)
    for iteration in range(count):
        (iterations / str(iteration * 100)).touch()
    store = LocalWeightsStore(folder / "many")
    times: Times = {}
    name, reference = f"latest_iteration of {count:,}", "max(os.scandir)"

    def scan() -> int:
        with os.scandir(iterations) as entries:
            return max(int(entry.name) for entry in entries)

    for _ in range(repeats):
        newest = timed(times, reference, scan)
        assert timed(times, name, lambda: store.latest_iteration(f"run{count}")) == newest
    print(row(times, name, reference, 1.5))


def measure_memory(saving: Saving) -> None:
    """Peak memory of background saves beyond what the process has, in states."""
    saving.store.close()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    for iteration in (1, 2):
        saving.store.store_weights(saving.run, iteration, wait=False)
    saving.store.wait()
    states = (status("VmHWM") - before) / sum(t.nbytes for t in tensors(saving.run.state()))
    print(f"| peak memory of two background saves, in states | | | | **{states:.2f}** | ≤ 1 |")


def status(field: str) -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if field in x)
    return int(line.split()[1]) * 1024


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=Path, default=None)
    arguments.add_argument("--repeats", type=int, default=9)
    arguments.add_argument("--megabytes", type=float, nargs="+", default=[416, 21])
    given = arguments.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for megabytes in given.megabytes:
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            saving = Saving(BenchmarkRun(megabytes), Path(name))
            print(f"\n{len(saving.content) / 1e6:.0f} MB, {len(saving.kept)} tensors\n")
            print("| | ms | reference | ms | ratio | aim |\n|---|---|---|---|---|---|")
            measure_saving(saving, given.repeats)
            measure_loading(saving, 3 * given.repeats)
            measure_memory(saving)
    print("\n| | ms | reference | ms | ratio | aim |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        for count in (1_000, 10_000):
            measure_finding(Path(name), count, 5 * given.repeats)


if __name__ == "__main__":
    main()

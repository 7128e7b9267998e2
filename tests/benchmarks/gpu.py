"""What a GPU run loses, as ratios to bare loops, copies and reads measured in the same run.

``python -m tests.benchmarks.gpu [--short] [--device cuda] [--folder FOLDER] [--only NAME …]``
prints the device's name and a Markdown table; the short form takes under three minutes. It needs
no server. On a CPU sizes are tiny: that shows that it runs, and its ratios mean nothing.

The bare loop is eager torch on the same network and step, its batches already on the device, and
waits for nothing. The two take turns; ratios are medians over the pairs, with their range.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from dacapo_core.data import volume_placement
from dacapo_core.data.volume_placement import Place
from dacapo_core.experiments.architectures import ArchitectureConfig, CNNectomeUNetConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import Array, NumpyArray
from dacapo_core.experiments.datasplits.datasets.arrays.zarr_array_config import ZarrArrayConfig
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.experiments.datasplits.datasplit import DataSplit
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.train import train_until
from dacapo_core.training.device import find_device
from dacapo_core.training.run import Run
from tests.benchmarks import gpu_saving, gpu_validation
from tests.benchmarks.gpu_validation import CHANNELS, volume

# batches of the bare loop
KEPT = 4


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    name: str
    ratios: Sequence[float]
    aim: str
    note: str = ""

    def __str__(self) -> str:
        low, middle, high = min(self.ratios), statistics.median(self.ratios), max(self.ratios)
        return (
            f"| {self.name} | **{middle:.2f}** ({low:.2f}–{high:.2f}) | {self.aim} | {self.note} |"
        )


@dataclass(frozen=True)
class Case:
    """A network and a batch."""

    name: str
    architecture: ArchitectureConfig
    batch_size: int
    elastic: float


def cases(gpu: bool) -> dict[str, Case]:
    """Those of the table; on a CPU far smaller."""
    large = CNNectomeUNetConfig(
        input_shape=(128,) * 3 if gpu else (16,) * 3,
        padding="same",
        normalisation="instance",
        num_fmaps=16 if gpu else 2,
        fmaps_out=16 if gpu else 2,
        fmap_inc_factor=2,
        downsample_factors=[(2, 2, 2)] * (3 if gpu else 1),
    )
    cosem = CNNectomeUNetConfig(
        input_shape=(216,) * 3 if gpu else (66,) * 3,
        fmaps_out=72 if gpu else 2,
        num_fmaps=12 if gpu else 2,
        fmap_inc_factor=6 if gpu else 1,
        downsample_factors=[(2, 2, 2), (3, 3, 3), (3, 3, 3)] if gpu else [(2, 2, 2), (3, 3, 3)],
    )
    default = RunConfig()
    return {
        "large": Case(f"2 × {large.input_shape[0]}³, elastic 100 nm", large, 2, 100),
        "cosem": Case(f"COSEM-like {cosem.input_shape[0]}³, elastic 100 nm", cosem, 1, 100),
        "default": Case("default net", default.architecture_config, default.batch_size, 0),
    }


class Loops:
    """Our loop and the bare one, on equal networks."""

    def __init__(self, case: Case, data: RawGTDataset, device: torch.device, **trainer: Any):
        config = RunConfig.model_validate(
            {
                "num_iterations": 1_000_000,
                "batch_size": case.batch_size,
                "architecture_config": case.architecture.model_dump(),
                "task_config": {"type": "one_hot", "channels": CHANNELS},
                "trainer_config": {
                    "augmentation": {"elastic_displacement": case.elastic},
                    **trainer,
                },
            }
        )
        self.device = device
        self.ours_run, self.bare_run = Run(config, device), Run(config, device)
        self.ours_run.datasplit = DataSplit([data], [])
        made = [self.ours_run.batch_source.batch(iteration)[0] for iteration in range(KEPT)]
        self.batches = [(b.raw, b.target.float(), b.weight.float()) for b in made]
        self.batch_bytes = sum(t.nbytes for t in made[0].tensors)
        self._next = cycle(self.batches)

    def ours(self, iterations: int) -> None:
        train_until(self.ours_run, self.ours_run.iteration + iterations)

    def bare(self, iterations: int) -> None:
        run = self.bare_run
        parameters = list(run.model.parameters())
        run.model.train()
        for raw, target, weight in islice(self._next, iterations):
            with torch.autocast(self.device.type, run.dtype, enabled=run.dtype != torch.float32):
                prediction = run.model(raw)
            run.task.loss(prediction.float(), target, weight).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=True)

    def place(self) -> Place:
        return self.ours_run.placement.places[0]


def seconds(device: torch.device, act: Callable[[int], None], iterations: int) -> float:
    synchronize(device)
    before = time.perf_counter()
    act(iterations)
    synchronize(device)
    return time.perf_counter() - before


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compared(loops: Loops, rounds: int, iterations: int) -> list[float]:
    """Our samples per second ÷ those of the bare loop, pair by pair."""
    methods = [loops.ours, loops.bare]
    for method in methods:
        method(3)
    ratios = []
    for turn in range(rounds):
        # who is first takes turns too
        order = methods if turn % 2 else methods[::-1]
        taken = {method.__name__: seconds(loops.device, method, iterations) for method in order}
        ratios.append(taken["bare"] / taken["ours"])
    return ratios


def extra_batches(loops: Loops) -> float:
    """Peak memory of our loop less volumes and what the bare loop takes, in batches."""
    peaks = []
    for act in (loops.ours, loops.bare):
        synchronize(loops.device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(loops.device)
        before = torch.cuda.memory_allocated(loops.device)
        act(6)
        synchronize(loops.device)
        peaks.append(torch.cuda.max_memory_allocated(loops.device) - before)
    # what is there before, volumes and the bare loop's batches too, is in neither
    ours, bare = peaks
    # the bare loop's own batch was there before
    return (ours - loops.batch_bytes - bare) / loops.batch_bytes


def loop_lines(
    device: torch.device, folder: Path, rounds: int, iterations: int, wanted: Callable[[str], bool]
) -> Iterator[Line]:
    gpu = device.type == "cuda"
    all_cases = cases(gpu)
    data = volume(400 if gpu else 120)
    shares = volume_placement.DEVICE_SHARE, volume_placement.HOST_SHARE
    places = [
        ("volumes on the device", data, shares, "≥ 0.97"),
        ("volumes in host memory", data, (0.0, shares[1]), "≥ 0.95"),
    ]
    if wanted("streamed"):
        places.append(("streamed from zarr", stored(data, folder), (0.0, 0.0), "≥ 0.90"))
    for where, dataset, (on_device, on_host), aim in places:
        if not wanted("large") and not (where.startswith("streamed") and wanted("streamed")):
            continue
        volume_placement.DEVICE_SHARE, volume_placement.HOST_SHARE = on_device, on_host
        loops = Loops(all_cases["large"], dataset, device)
        ratios = compared(loops, rounds, iterations)
        yield Line(f"{all_cases['large'].name}, {where}", ratios, aim, loops.place().value)
        if gpu and where == "volumes on the device":
            yield Line(
                "peak extra memory of the data path, in batches", [extra_batches(loops)], "≤ 3"
            )
        del loops
    volume_placement.DEVICE_SHARE, volume_placement.HOST_SHARE = shares
    for key, aim in (("cosem", "≥ 0.97"), ("default", "≥ 0.95")):
        if wanted(key):
            loops = Loops(all_cases[key], data, device)
            many = iterations * (5 if key == "default" else 1)
            yield Line(all_cases[key].name, compared(loops, rounds, many), aim, loops.place().value)
            del loops
    for key in ("large", "cosem") if gpu else ("large",):
        if wanted("compile"):
            loops = Loops(all_cases[key], data, device, compile=True)
            compared(loops, 1, 3)
            ratios = compared(loops, rounds, iterations)
            kept = loops.ours_run.training_model is not loops.ours_run.model
            note = "compiled" if kept else "could not be compiled"
            yield Line(f"compile: {all_cases[key].name}", ratios, "", note)
            del loops


def stored(data: RawGTDataset, folder: Path) -> RawGTDataset:
    """The same volume in zarr arrays of 64³ chunks, written and read by tensorstore."""
    import tensorstore as ts

    def moved(array: Array) -> Array:
        assert isinstance(array, NumpyArray)
        path = folder / f"{array.name}.zarr"
        chunks = [1] * (array.data.ndim - 3) + [64] * 3
        spec = {
            "driver": "zarr",
            "kvstore": {"driver": "file", "path": str(path)},
            "metadata": {"chunks": chunks, "compressor": {"id": "zstd", "level": 3}},
        }
        made = ts.open(
            spec, create=True, dtype=ts.dtype(array.data.dtype), shape=array.data.shape
        ).result()
        made.write(array.data).result()
        return ZarrArrayConfig(file_name=str(path), voxel_size=array.voxel_size).array()

    return data.reading_from(moved)


def other_lines(
    device: torch.device, folder: Path, short: bool, wanted: Callable[[str], bool]
) -> Iterator[Line]:
    gpu = device.type == "cuda"
    if wanted("saving"):
        sizes = (416, 2800) if gpu else (4, 8)
        for row in gpu_saving.measure(
            device,
            folder,
            megabytes=sizes,
            repeats=3 if short else 9,
            step_seconds=0.07 if gpu else 0.001,
        ):
            ratios = [a / b for a, b in zip(row.times, row.reference_times, strict=True)]
            yield Line(row.name, ratios, f"≤ {row.aim}" if row.aim else "", f"÷ {row.reference}")
    if wanted("validation"):
        for each in gpu_validation.rows(device, 1 if short else 3):
            yield Line(f"validation, {each.name}", [each.ratio], "≥ 0.90")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", default=None)
    arguments.add_argument("--folder", type=Path, default=None, help="for checkpoints and volumes")
    arguments.add_argument("--short", action="store_true")
    arguments.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        default=["large", "streamed", "cosem", "default", "compile", "saving", "validation"],
        help="of large, streamed, cosem, default, compile, saving, validation; default all",
    )
    given = arguments.parse_args()
    device = find_device(given.device)
    gpu = device.type == "cuda"
    rounds, iterations = (3, 15) if given.short else (9, 40)
    if not gpu:
        rounds, iterations = 2, 3
    began = time.perf_counter()

    def wanted(name: str) -> bool:
        return name in given.only

    print(torch.cuda.get_device_name(device) if gpu else "CPU", f"torch {torch.__version__}")
    print("\n| | ratio | aim | |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        for line in loop_lines(device, folder, rounds, iterations, wanted):
            print(line, flush=True)
        for line in other_lines(device, folder, given.short, wanted):
            print(line, flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

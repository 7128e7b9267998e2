"""Validation of a whole volume ÷ bare forward over the same blocks.

``python -m tests.benchmarks.gpu_validation``. Needs neither prefect nor zarr. On a GPU a volume of
500³, on a CPU a short form. The blocks of the bare forward are on the device already; the network
is the default one and one with valid padding as COSEM's, untrained. Aim: 0.90 with everything that
is scored.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dacapo_core.experiments.architectures import ArchitectureConfig, CNNectomeUNetConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import NumpyArray
from dacapo_core.experiments.datasplits.datasets.labels import ChannelLabels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.training.device import find_device
from dacapo_core.training.run import Run
from dacapo_core.validation.prediction import predict_volume
from dacapo_core.validation.scoring import predict, predict_and_score
from dacapo_core.validation.tiling import evaluation_grid

AIM = 0.90
CHANNELS = ["mito", "pm", "ves", "er"]


@dataclass(frozen=True)
class Row:
    """Seconds of one validation, and of the bare forward before and after it."""

    name: str
    seconds: float
    bare: float

    @property
    def ratio(self) -> float:
        """1 is as fast as the bare forward."""
        return self.bare / self.seconds


def networks(gpu: bool) -> dict[str, ArchitectureConfig]:
    """By name."""
    default = CNNectomeUNetConfig(padding="same", normalisation="instance")
    if not gpu:
        return {"default net": default}
    cosem = CNNectomeUNetConfig(
        input_shape=(216, 216, 216),
        eval_shape_increase=(0, 0, 0),
        fmaps_out=72,
        num_fmaps=12,
        fmap_inc_factor=6,
        downsample_factors=[(2, 2, 2), (3, 3, 3), (3, 3, 3)],
    )
    return {"default net": default, "COSEM-like": cosem}


def volume(size: int) -> RawGTDataset:
    """Noise in its stored type, with a ball of each channel."""
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (size,) * 3, dtype=np.uint8)
    place = np.arange(size) / size
    truth = np.zeros((len(CHANNELS), size, size, size), np.uint8)
    for index, channel in enumerate(truth):
        squares = [(place - 0.2 * (index + 1)) ** 2] * 3
        channel[:] = sum(np.ix_(*squares)) < 0.15**2
    return RawGTDataset(
        "volume",
        NumpyArray("raw", raw, (8.0, 8.0, 8.0)),
        ChannelLabels(NumpyArray("truth", truth, (8.0, 8.0, 8.0)), CHANNELS),
    )


def rows(device: torch.device | None = None, rounds: int = 3) -> list[Row]:
    """For each network: prediction alone, and prediction with all scores."""
    device = device or find_device(None)
    gpu = device.type == "cuda"
    dataset = volume(500 if gpu else 64)
    found = []
    for name, architecture in networks(gpu).items():
        run = Run(RunConfig(architecture_config=architecture), device)
        bare = bare_forward(run, dataset)
        for what, act in (
            ("prediction", lambda run=run: predict(run, dataset)),
            ("prediction and scores", lambda run=run: predict_and_score(run, dataset)),
        ):
            seconds, reference = in_turns(device, act, bare, rounds)
            found.append(Row(f"{name}: {what}", seconds, reference))
    return found


def bare_forward(run: Run, dataset: RawGTDataset) -> Callable[[], None]:
    """The network over as many blocks as validation takes, from memory of the device."""
    extent = [e - b for b, e in zip(dataset.begin, dataset.end, strict=True)]
    grid, margin = evaluation_grid(run.config.architecture_config, extent)
    block = torch.zeros((1, 1, *grid.input_shape), device=run.device)
    outputs = torch.zeros((len(CHANNELS), *grid.output_shape), device=run.device)
    count = 0

    def counted(raw: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        return outputs

    predict_volume(dataset, grid, margin, counted, run.device)

    @torch.inference_mode()
    def forward() -> None:
        run.model.eval()
        for _ in range(count):
            with torch.autocast(run.device.type, run.dtype, enabled=run.dtype != torch.float32):
                run.model(block)

    return forward


def in_turns(
    device: torch.device, act: Callable[[], object], bare: Callable[[], None], rounds: int
) -> tuple[float, float]:
    """Medians of seconds; the first turn warms up."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for times, do in zip(taken, (act, bare), strict=True):
            before = time.perf_counter()
            do()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - before)
    acted, forward = (statistics.median(times[1:]) for times in taken)
    return acted, forward


def main() -> None:
    device = find_device(None)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, short form"
    print(f"{name}\n\n| | s | bare forward s | ratio | aim |\n|---|---|---|---|---|")
    for row in rows(device):
        print(f"| {row.name} | {row.seconds:.2f} | {row.bare:.2f} | {row.ratio:.2f} | ≥ {AIM} |")


if __name__ == "__main__":
    sys.exit(main())

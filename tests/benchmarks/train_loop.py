"""Samples per second of our training loop ÷ those of a bare PyTorch loop on the same step.

``python tests/benchmarks/train_loop.py``. The bare loop has its batches ready in memory and does
nothing but forward, loss, backward, clipping and update; ours draws its batches, guards, schedules,
counts and reports as well. The two take turns, so that other load hits both alike, and the ratio is
the median over pairs: by wall time, and by the CPU time of all threads, which counts the drawing of
batches in full although it goes on beside the step. Target: 0.98 by wall time.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from itertools import cycle
from typing import NamedTuple

import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.train import train_until
from dacapo_core.training.run import Run

ROUNDS = 15
ITERATIONS = 20


class Seconds(NamedTuple):
    """Of an iteration."""

    wall: float
    cpu: float


def ours(run: Run) -> Seconds:
    wall, cpu = time.perf_counter(), time.process_time()
    train_until(run, run.iteration + ITERATIONS)
    synchronize(run)
    return since(wall, cpu)


def bare(run: Run, batches: cycle[tuple[torch.Tensor, ...]]) -> Seconds:
    parameters = list(run.model.parameters())
    enabled = run.dtype != torch.float32
    run.model.train()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(ITERATIONS):
        raw, target, weight = (array.to(run.device) for array in next(batches))
        with torch.autocast(run.device.type, dtype=run.dtype, enabled=enabled):
            prediction = run.model(raw)
        loss = run.task.loss(prediction.float(), target, weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
        loss.item()
    synchronize(run)
    return since(wall, cpu)


def since(wall: float, cpu: float) -> Seconds:
    return Seconds(
        (time.perf_counter() - wall) / ITERATIONS, (time.process_time() - cpu) / ITERATIONS
    )


def synchronize(run: Run) -> None:
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)


def main() -> None:
    config = RunConfig(num_iterations=10_000)
    loop, reference = Run(config), Run(config)
    drawn = [reference.batch_source.batch(iteration)[0] for iteration in range(ITERATIONS)]
    batches = cycle([(b.raw, b.target.float(), b.weight.float()) for b in drawn])
    ours(loop), bare(reference, batches)  # warm up
    before = os.getloadavg()[0]
    times = []
    for turn in range(ROUNDS):
        # who is first takes turns too
        if turn % 2:
            plain, mine = bare(reference, batches), ours(loop)
        else:
            mine, plain = ours(loop), bare(reference, batches)
        times.append((mine, plain))
    print(
        f"{loop.device}, {torch.get_num_threads()} threads, {loop.dtype}, load average "
        f"{before:.1f} to {os.getloadavg()[0]:.1f}"
    )
    for field in Seconds._fields:
        mine_s = [1000 * getattr(mine, field) for mine, _ in times]
        plain_s = [1000 * getattr(plain, field) for _, plain in times]
        ratios = [p / m for m, p in zip(mine_s, plain_s, strict=True)]
        first, middle, third = statistics.quantiles(ratios, n=4)
        print(
            f"{field} time: ours {statistics.median(mine_s):.1f} ms an iteration, bare loop "
            f"{statistics.median(plain_s):.1f} ms, ratio {middle:.3f} (quartiles {first:.3f} to "
            f"{third:.3f})"
        )


if __name__ == "__main__":
    sys.exit(main())

"""Samples per second of our training loop ÷ those of a bare PyTorch loop on the same step.

``python tests/benchmarks/train_loop.py``. The bare loop has its batches ready in memory and does
nothing but forward, loss, backward, clipping and update; ours draws its batches, guards, schedules,
counts and reports as well. The two take turns, so that other load hits both alike, and the ratio is
that of the medians. Target: 0.98.
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import cycle

import torch

from dacapo_core.experiments.run import Run
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.train import train_until

ROUNDS = 9
ITERATIONS = 20


def ours(run: Run) -> float:
    """Seconds an iteration."""
    begin = time.perf_counter()
    train_until(run, run.iteration + ITERATIONS)
    synchronize(run)
    return (time.perf_counter() - begin) / ITERATIONS


def bare(run: Run, batches: cycle[tuple[torch.Tensor, ...]]) -> float:
    """Seconds an iteration."""
    parameters = list(run.model.parameters())
    enabled = run.dtype != torch.float32
    run.model.train()
    begin = time.perf_counter()
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
    return (time.perf_counter() - begin) / ITERATIONS


def synchronize(run: Run) -> None:
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)


def main() -> None:
    config = RunConfig(num_iterations=10_000)
    loop, reference = Run(config), Run(config)
    drawn = [reference.batch_source.batch(iteration)[0] for iteration in range(ITERATIONS)]
    batches = cycle([(batch.raw, batch.target, batch.weight) for batch in drawn])
    ours(loop), bare(reference, batches)  # warm up
    times = [(ours(loop), bare(reference, batches)) for _ in range(ROUNDS)]
    our_time, bare_time = (statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"{loop.device}, {torch.get_num_threads()} threads, {loop.dtype}: "
        f"ours {1 / our_time:.2f} samples/s, bare loop {1 / bare_time:.2f}, "
        f"ratio {bare_time / our_time:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Several processes against one, in ratios: ``python tests/benchmarks/data_parallel.py``.

Two processes of one thread each, over gloo, against one process of one thread on the same batch;
beside them bare ``DistributedDataParallel`` on the same step, and what a save adds. With several
GPUs at hand, as many processes as there are GPUs against one, each with its own share of a larger
batch. Each figure is the median of several stretches, in turn, in one run.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STRETCHES, ITERATIONS = 5, 9


def configuration(batch_size: int) -> dict[str, Any]:
    return {
        "name": "benchmark",
        "num_iterations": 10_000,
        "batch_size": batch_size,
        "num_workers": 1,
        "architecture_config": {
            "type": "cnnectome_unet",
            "input_shape": [32, 32, 32],
            "num_fmaps": 12,
            "fmaps_out": 12,
            "downsample_factors": [[2, 2, 2], [2, 2, 2]],
            "padding": "same",
            "normalisation": "instance",
        },
        "task_config": {"type": "one_hot", "channels": ["mito", "pm"]},
        "trainer_config": {"mixed_precision": "off", "augmentation": {"elastic_displacement": 0}},
        "datasplit_config": {"type": "synthetic", "shape": [64, 64, 64], "num_train": 1},
    }


def bare(run: Any) -> float:
    """Median seconds of forward, backward and update alone, wrapped as torch's tutorial does."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    model = DistributedDataParallel(run.model) if run.processes.several else run.model
    batch = run.batch_source.batch(0)[0]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-6)
    times = []
    for _ in range(ITERATIONS):
        began = time.perf_counter()
        loss = run.task.loss(model(batch.raw), batch.target.float(), batch.weight.float())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if run.device.type == "cuda":
            torch.cuda.synchronize(run.device)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def follow(processes: Any, device: Any) -> None:
    """As `dacapo_core.training.follow`, and bare steps where rank 0 wants them."""
    from dacapo_core.experiments.run_config import RunConfig
    from dacapo_core.training.follow import build_run
    from dacapo_core.training.loop import follow_training

    run: Any = None
    while (told := processes.hear()) is not None:
        what, value = told
        if what == "build":
            run = build_run(RunConfig.model_validate_json(value), device, processes)
        elif what == "train":
            follow_training(run, *value)
        else:
            bare(run)


def lead(processes: Any, device: Any, folder: Path, batch_size: int) -> dict[str, float]:
    """Median seconds an iteration: whole steps, bare ones, and whole ones after a save."""
    from dacapo_core.experiments.run_config import RunConfig
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.train import train_until
    from dacapo_core.training.follow import build_run

    run = build_run(RunConfig.model_validate(configuration(batch_size)), device, processes)
    store = LocalWeightsStore(folder / f"store-{processes.size}")
    found: dict[str, list[float]] = {"train": [], "bare": [], "saved": []}

    def stretch(save: bool) -> float:
        began = time.perf_counter()
        if save:
            store.store_weights(run, run.iteration, wait=False)
        saving = time.perf_counter() - began
        stats = train_until(run, run.iteration + ITERATIONS)
        times = [each.time for each in stats.iteration_stats]
        store.wait()
        # a save delays some steps, so its stretch counts whole
        return saving + sum(times[1:]) if save else statistics.median(times)

    train_until(run, 2)
    store.store_weights(run, run.iteration)
    for _ in range(STRETCHES):
        found["train"].append(stretch(save=False))
        if processes.leads:
            processes.tell(("bare", None))
        found["bare"].append(bare(run))
        found["saved"].append(stretch(save=True))
    return {name: statistics.median(values) for name, values in found.items()}


def member(folder: Path, batch_size: int) -> None:
    import torch

    from dacapo_core.training.joining import device_of_process, join
    from dacapo_core.training.launching import end_with_the_parent, is_first

    torch.set_num_threads(1)
    end_with_the_parent()
    device = device_of_process("cuda" if torch.cuda.is_available() else "cpu")
    processes = join(device, {})
    try:
        if is_first():
            figures = lead(processes, device, folder, batch_size)
            (folder / f"{processes.size}.json").write_text(json.dumps(figures))
        else:
            follow(processes, device)
    finally:
        processes.leave()


def measured(folder: Path, processes: int, batch_size: int) -> dict[str, float]:
    launcher = [sys.executable, "-m", "dacapo_core.training.launcher", "--standalone"]
    program = [f"--nproc-per-node={processes}", __file__, str(folder), str(batch_size)]
    subprocess.run([*launcher, *program], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return json.loads((folder / f"{processes}.json").read_text())  # type: ignore[no-any-return]


def main() -> None:
    import torch

    gpus = torch.cuda.device_count()
    processes = gpus if gpus > 1 else 2
    if gpus == 1:
        sys.exit("one GPU: what several bring is open; without GPUs two processes on CPUs stand in")
    # on CPUs the same batch in two halves; GPUs each have their own share of a larger one
    with tempfile.TemporaryDirectory() as name:
        alone = measured(Path(name), 1, 1 if gpus else 2)
        shared = measured(Path(name), processes, processes)
    larger = processes / (1 if gpus else 2)
    speed = larger * alone["train"] / shared["train"]
    print(f"{processes} processes ÷ 1, samples per second: {speed:.2f}")
    print(f"bare DistributedDataParallel ÷ ours, seconds: {shared['bare'] / shared['train']:.3f}")
    print(f"bare DistributedDataParallel ÷ 1: {larger * alone['bare'] / shared['bare']:.2f}")
    for figures, who in ((alone, "one process"), (shared, f"{processes} processes")):
        whole = (ITERATIONS - 1) * figures["train"]
        print(f"a save, {who}: {1000 * (figures['saved'] - whole):.0f} ms in {whole:.2f} s")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        member(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()

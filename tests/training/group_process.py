"""One of the processes of a group: ``torchrun … group_process.py job.json``.

The job is a list of [name, configuration, iterations]; rank 0 trains each and saves its state to
``<name>.pt`` beside the job. Where there is a folder ``rank1``, rank 1 works in it, and is told
what its file ``told`` says.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.train import train_until
from dacapo_core.training.checks import check_run
from dacapo_core.training.follower_ranks import build_run, follow
from dacapo_core.training.launch import end_with_the_parent
from dacapo_core.training.process_group import device_of_process, join
from dacapo_core.training.processes import Processes
from dacapo_core.validation.scoring import predict


def lead(processes: Processes, job: Path) -> None:
    for name, values, iterations in json.loads(job.read_text()):
        run = build_run(RunConfig.model_validate(values), "cpu", processes)
        check_run(run)
        train_until(run, iterations // 2)
        train_until(run, iterations)
        state = {"model": run.model.state_dict(), "losses": run.training_stats.losses}
        state["prediction"] = predict(run, run.validation_datasets[0])
        torch.save(state, job.with_name(f"{name}.pt"))


def main(
    job: Path,
    lead: Callable[[Processes, Path], None] = lead,
    joined: Callable[[Processes], None] = lambda _: None,
) -> None:
    torch.set_num_threads(1)
    end_with_the_parent()
    device = device_of_process("cpu")
    told: dict[str, str | None] = {"job": job.read_text()}
    elsewhere = job.with_name("rank1")
    if elsewhere.exists() and os.environ["RANK"] == "1":
        os.chdir(elsewhere)
        told["told"] = (elsewhere / "told").read_text() if (elsewhere / "told").exists() else None
    processes = join(device, {key: value for key, value in told.items() if value is not None})
    joined(processes)
    try:
        if processes.rank == 0:
            lead(processes, job)
        else:
            follow(processes, device)
    finally:
        processes.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

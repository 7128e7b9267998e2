"""One of the processes of a group that dies: ``torchrun … dying_process.py job.json``.

The job has a configuration, a store, and deaths: [what, rank, iteration], each died once, by
SIGKILL: in a ``forward`` pass, while gradients are in the ``sum``, while shares ``gather``, in a
``save``, when it is to ``predict``. ``log`` gets a line with the time from each process that
starts or dies.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until
from dacapo_core.training import follower_ranks as following
from dacapo_core.training import sharding
from dacapo_core.training.checks import check_run
from dacapo_core.training.launch import end_with_the_parent
from dacapo_core.training.process_group import device_of_process, join
from dacapo_core.training.processes import Processes
from dacapo_core.training.resume import resume
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import validate_iteration


class Deaths:
    def __init__(self, folder: Path, planned: list[Any], rank: int) -> None:
        self._folder = folder
        self._planned = [tuple(each) for each in planned]
        self._rank = rank

    def log(self, what: str) -> None:
        with (self._folder / "log").open("a") as file:
            file.write(f"{time.time()} {what}\n")

    def at(self, what: str, iteration: int) -> None:
        if (what, self._rank, iteration) in self._planned:
            try:
                (self._folder / f"{what}-{self._rank}-{iteration}").touch(exist_ok=False)
            except FileExistsError:
                return
            self.log(f"died {what} {self._rank} {iteration}")
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, run: Run) -> Run:
        self._hook(run)
        if run.is_to_be_sharded:
            become, whole = run.become_shares, sharding.whole
            gathered: list[int] = []

            def become_and_hook(shard: Any) -> None:
                become(shard)
                self._hook(run)

            def gather_one(tensor: torch.Tensor) -> torch.Tensor:
                gathered.append(run.iteration)
                if gathered.count(run.iteration) == 3:
                    self.at("gather", run.iteration)
                return whole(tensor)

            run.become_shares = become_and_hook  # type: ignore[method-assign]
            sharding.whole = gather_one
        return run

    def _hook(self, run: Run) -> None:
        run.model.register_forward_pre_hook(
            lambda model, _: self.at("forward" if model.training else "predict", run.iteration)
        )
        first = next(iter(run.model.parameters()))
        # its gradient is the last: those of the other process are in the sum by then
        first.register_hook(lambda _: self.at("sum", run.iteration))


def lead(processes: Processes, job: dict[str, Any], deaths: Deaths) -> None:
    run = following.build_run(RunConfig.model_validate(job["config"]), "cpu", processes)
    store = LocalWeightsStore(job["store"])
    with store.lease(run.name):
        for iteration in store.iterations(run.name):
            store.verify(run.name, iteration)
        deaths.log(f"resumed {resume(run, store).iteration} restarts {processes.restarts}")
        check_run(run, store)
        for until in run.config.validation_iterations():
            if until > run.iteration:
                train_until(run, until)
                store.store_weights(run, until, wait=False)
                deaths.at("save", until)
            if until == run.iteration:
                (held_out,) = run.validation_datasets
                scores = validate_iteration(run, held_out)
                store.store_scores(run.name, until, held_out.name, scores)
                store.wait()


def main(job_file: Path) -> None:
    torch.set_num_threads(1)
    end_with_the_parent()
    job = json.loads(job_file.read_text())
    device = device_of_process("cpu")
    processes = join(device, job)
    deaths = Deaths(job_file.parent, job["deaths"], processes.rank)
    deaths.log(f"started {processes.rank} {os.getpid()}")
    build = following.build_run
    following.build_run = lambda *args: deaths.watch(build(*args))
    try:
        if processes.rank == 0:
            lead(processes, job, deaths)
        else:
            following.follow(processes, device)
    finally:
        processes.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

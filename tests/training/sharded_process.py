"""One of the processes of a sharded group: ``torchrun … sharded_process.py job.json``.

The job is a list of [configuration, iterations]; rank 0 brings each to its newest checkpoint in the
folder ``store`` beside the job, trains it, and stores it half way and at the end. How many bytes of
tensors rank 1 had then, at most, is in ``bytes.json``.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch
from group_process import main  # type: ignore[import-not-found]

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.checkpoint_format.savable_state import tensors_of
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until
from dacapo_core.training.checks import check_run
from dacapo_core.training.follower_ranks import build_run
from dacapo_core.training.processes import Processes
from dacapo_core.training.resume import resume
from dacapo_core.training.run import Run
from dacapo_core.training.sharded_tensors import share_of
from dacapo_core.validation.scoring import predict


def lead(processes: Processes, job: Path) -> None:
    store = LocalWeightsStore(job.with_name("store"))
    for values, iterations in json.loads(job.read_text()):
        run = build_run(RunConfig.model_validate(values), "cpu", processes)
        begun = resume(run, store).iteration
        check_run(run)
        half = (begun + iterations) // 2
        train_until(run, half)
        store.store_weights(run, half, wait=False)
        predict(run, run.validation_datasets[0])
        train_until(run, iterations)
        store.store_weights(run, iterations, wait=False)
        prediction = predict(run, run.validation_datasets[0])
        store.wait()
        said = {"losses": run.training_stats.losses, "prediction": prediction}
        if run.name == "averaged" and run.is_sharded:
            said |= {"guard": poisoned(run), "refused": refusals(run, store)}
        torch.save(said, job.with_name(f"{run.name}-{iterations}.pt"))


def refusals(run: Run, store: LocalWeightsStore) -> list[str]:
    """What is said to those who ask for what a sharded run cannot do."""
    said = []
    for ask in (
        lambda: train_until(run, run.iteration + 1, on_iteration=lambda _: store_now(run, store)),
        lambda: store.load_weights(run, store.iterations(run.name)[-1]),
        lambda: predict(run, run.datasplit.train[0]),
    ):
        try:
            ask()
        except (RuntimeError, ValueError) as error:
            said.append(f"{type(error).__name__}: {error}")
    return said


def store_now(run: Run, store: LocalWeightsStore) -> None:
    store.store_weights(run, run.iteration)


def poisoned(run: Run) -> tuple[bool, bool]:
    """Whether a step with NaN is skipped, and what it leaves alone."""
    with torch.no_grad():
        share_of(next(run.model.parameters())).view(-1)[0] = torch.nan
    before, after = [], []
    for states in (before, after):
        state = run.gather_state()
        assert state is not None
        # the iteration and the random state go on
        states += [each.clone() for _, each in tensors_of([state["model"], state["optimizer"]])]
        if not after:
            train_until(run, run.iteration + 1)
    same = all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before, after, strict=True)
    )
    return run.training_stats.iteration_stats[-1].skipped, same


class Measured(Processes):
    """Notes how many bytes of tensors there are when it is told to give its shares."""

    most = 0

    def hear(self) -> Any:
        told = super().hear()
        if told is not None and told[0] == "gather":
            tensors = [each for each in gc.get_objects() if isinstance(each, torch.Tensor)]
            storages = {
                each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
                for each in tensors
                if type(each) in (torch.Tensor, torch.nn.Parameter) and not each.is_meta
            }
            Measured.most = max(Measured.most, sum(storages.values()))
        return told


def measure(processes: Processes) -> None:
    if processes.rank > 0:
        processes.__class__ = Measured


if __name__ == "__main__":
    job = Path(sys.argv[1])
    main(job, lead, measure)
    if Measured.most:
        job.with_name("bytes.json").write_text(json.dumps(Measured.most))

"""Continuing a run from what its store holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dacapo_core.experiments.training_stats import TrainingStats

if TYPE_CHECKING:
    from dacapo_core.experiments.run import Run
    from dacapo_core.store.local_weights_store import LocalWeightsStore


@dataclass(frozen=True)
class Resumption:
    """Where a run continues: after `iteration`, 0 for the beginning, and why there."""

    iteration: int
    reason: str


def resume(run: Run, store: LocalWeightsStore) -> Resumption:
    """Bring `run` to the newest of its checkpoints in `store` that verifies.

    A run that goes on from there equals one that was never interrupted. Scores and best records
    past that point are withdrawn: the iterations they judged will be trained anew. The statistics
    of the iterations before it come back from the store.

    Raises:
        ValueError: the checkpoint does not fit the configuration, or lacks part of the state.
    """
    stored = store.iterations(run.name)
    newest = store.latest_iteration(run.name, verified=True)
    if newest is None:
        store.withdraw_after(run.name, 0)
        return Resumption(0, _nothing_to_resume(stored))
    weights = store.retrieve_weights(run.name, newest, verify=False)
    exact = bool(weights.extra)
    try:
        run.model.load_state_dict(weights.model)
        if exact:
            run.optimizer.load_state_dict(weights.optimizer)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"checkpoint {newest} of run {run.name!r} does not fit its configuration: {error}"
        ) from error
    if exact:
        run.load_extra_state(weights.extra)
    run.iteration = newest
    store.withdraw_after(run.name, newest)
    run.training_stats.iteration_stats[:] = [
        stats
        for record in store.training_stats(run.name)
        for stats in TrainingStats.from_record(record).iteration_stats
    ]
    return Resumption(newest, _why(newest, stored, exact))


def _nothing_to_resume(stored: list[int]) -> str:
    if not stored:
        return "it has no checkpoint yet"
    return f"none of its checkpoints verifies ({_list(stored)})"


def _why(newest: int, stored: list[int], exact: bool) -> str:
    damaged = [iteration for iteration in stored if iteration > newest]
    reason = (
        f"the newest checkpoint that verifies; damaged: {_list(damaged)}"
        if damaged
        else "the newest checkpoint, verified"
    )
    if exact:
        return reason
    return reason + "; it holds weights only, so the optimizer starts anew"


def _list(iterations: list[int]) -> str:
    return ", ".join(str(iteration) for iteration in iterations)

"""Continuing a run from what its store holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dacapo_core.data.intensity_range import Intensities
from dacapo_core.experiments.starts.key_mapping import named_as_in
from dacapo_core.store.checkpoint_format.load_into_model import load_state
from dacapo_core.store.errors import UnsafeCheckpointError
from dacapo_core.store.saving.run_state import device_of
from dacapo_core.training.schedule import Extension, extension_notice
from dacapo_core.training.training_stats import stretches

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.store.metadata_store import MetadataStore
    from dacapo_core.training.run import Run


@dataclass(frozen=True)
class Resumption:
    """Where a run continues: after `iteration`, 0 for the beginning, and why there."""

    iteration: int
    reason: str


def resume(run: Run, store: LocalWeightsStore) -> Resumption:
    """Bring `run` to the newest of its checkpoints in `store` that verifies.

    A run that goes on from there equals one that was never interrupted. Scores and best records
    past that point are withdrawn: the iterations they judged will be trained anew. The statistics
    of the iterations before it come back from the store. A run that is to have more iterations than
    the checkpoint was trained for is extended, see ``TrainerConfig.extension``; the reason says
    what the learning rate will do.

    Raises:
        ValueError: the checkpoint does not fit the configuration (WeightsDoNotFitError), or lacks
            part of the state. The run is as it was.
        UnsafeCheckpointError: the newest that is not damaged asks for code to be run; nothing was
            touched.
    """
    stored = store.iterations(run.name)
    try:
        newest = store.latest_iteration(run.name, verified=True)
    except UnsafeCheckpointError as error:
        raise UnsafeCheckpointError(
            f"run {run.name!r} cannot go on from its newest checkpoint: {error}, and put that in "
            f"its place; or `dacapo-store remove` it with --force, to go on from the one before",
            error.globals,
        ) from None
    if newest is None:
        store.withdraw_after(run.name, 0)
        return Resumption(0, _nothing_to_resume(stored))
    device = device_of(run.model)
    weights = store.retrieve_weights(run.name, newest, verify=False, device=device)
    exact = bool(weights.extra)
    what = f"checkpoint {newest} of run {run.name!r}"
    run.state_fence.wait()
    if exact:
        run.check_extra_state(weights.extra)
        load_state(what, run.model, weights.model, run.optimizer, weights.optimizer)
        run.load_extra_state(weights.extra)
    else:
        load_state(what, run.model, named_as_in(weights.model, run.model.state_dict()))
    take_kept_intensities(run, store, weights.extra)
    run.iteration = newest
    run.is_shared = False
    reason = _why(newest, stored, exact)
    if exact:
        planned = weights.extra.get("num_iterations") or _stored_length(run, store)
        reason += _extend(run, planned)
    store.withdraw_after(run.name, newest)
    run.training_stats.iteration_stats[:] = [
        stats
        for stretch in stretches(run.name, store.training_stats(run.name))
        for stats in stretch.iteration_stats
    ]
    return Resumption(newest, reason)


def take_kept_intensities(run: Run, store: MetadataStore, extra: Mapping[str, Any]) -> None:
    """Make of raw data what the run's record says; without one, what its checkpoint says.

    Raw data of a run that has neither had the range of its type.

    Args:
        extra: of the checkpoint.

    Raises:
        DamagedRecordError: the record cannot be read.
    """
    kept = store.intensities(run.name)
    if kept is not None:
        run.take_intensities(kept)
    elif not extra:
        run.take_intensities(Intensities())


def _stored_length(run: Run, store: LocalWeightsStore) -> int:
    """How many iterations the run was last to have, of checkpoints that do not say so."""
    stored = store.run_config(run.name) or {}
    return int(stored.get("num_iterations", run.config.num_iterations))


def _extend(run: Run, planned: int) -> str:
    """Note that the run has more iterations than were `planned`, and say what that means."""
    if not planned < run.config.num_iterations:
        return ""
    extension = Extension(run.iteration, planned, run.config.trainer_config.extension)
    run.extensions.append(extension)
    highest = run.config.learning_rate
    notice = extension_notice(
        extension,
        run.config.num_iterations,
        lambda iteration: highest * run.learning_rate_factor(iteration),
        highest,
    )
    return f"; {notice}"


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

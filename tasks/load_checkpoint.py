"""Bring a stored checkpoint into memory to judge it."""

from __future__ import annotations

from tasks.runtime.open_stores import open_store
from tasks.runtime.runs_in_training import live_run
from tasks.runtime.task_decorator import task


@task("load {run} {iteration}")
def load_checkpoint(run: str, iteration: int) -> None:
    """Load a checkpoint's weights, verified, into the run as its stored configuration builds it.

    Raises:
        FileNotFoundError: there is no such checkpoint, or the run's configuration is not stored.
        DamagedCheckpointError: it does not verify.
        ValueError: it does not fit the run's configuration; the run is as it was.
    """
    from dacapo_core.experiments.run_config import RunConfig
    from dacapo_core.experiments.starts.key_mapping import named_as_in
    from dacapo_core.settings import get_settings
    from dacapo_core.store.checkpoint_format.load_into_model import load_state
    from dacapo_core.training.resume import take_kept_intensities
    from dacapo_core.training.run import Run

    live = live_run(run)
    if live.built is None:
        stored = live.store.run_config(run)
        if stored is None:
            raise FileNotFoundError(
                f"the store has no configuration of run {run!r}; it was not trained by this "
                "project, so how to validate it is not known"
            )
        live.built = Run(RunConfig.model_validate(stored), get_settings().device)
    weights = live.store.retrieve_weights(run, iteration)
    live.built.state_fence.wait()
    if weights.extra:
        live.built.check_extra_state(weights.extra)
    # without extra state it may be DaCapo's own
    state = (
        weights.model
        if weights.extra
        else named_as_in(weights.model, live.built.model.state_dict())
    )
    load_state(f"checkpoint {iteration} of run {run!r}", live.built.model, state)
    if weights.extra:
        live.built.load_extra_state(weights.extra)
    take_kept_intensities(live.built, live.store, weights.extra)
    live.built.iteration = iteration


def unscored_iterations(run: str, store: str | None) -> list[int]:
    """Iterations that have a checkpoint and no scores yet.

    Raises:
        FileNotFoundError: the run has no checkpoint.
    """
    opened = open_store(store)
    stored = opened.iterations(run)
    if not stored:
        raise FileNotFoundError(
            f"no checkpoint of a run {run!r}; runs in the store: "
            f"{', '.join(opened.runs()) or 'none'}"
        )
    scored = {record.iteration for record in opened.scores(run)}
    return [iteration for iteration in stored if iteration not in scored]

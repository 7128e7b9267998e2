"""Begin a run in this process, or bring it to where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dacapo_core.experiments.run_config import RunConfig
from tasks.runtime.runs_in_training import LiveRun, live_run
from tasks.runtime.start_pins import open_start, release_start
from tasks.runtime.task_decorator import task

if TYPE_CHECKING:
    from dacapo_core.training.tensorboard import EventFiles


CHANGEABLE_FIELDS = (
    "num_workers",
    "trainer_config.processes",
    "trainer_config.max_restarts",
    "trainer_config.sharded",
)


class RunConfigChangedError(ValueError):
    """The store holds a run of this name that was configured otherwise."""


@task("begin {run.name}")
def begin_run(run: RunConfig) -> int:
    """Check the configuration, build the run and bring it to its newest whole checkpoint.

    Everything that can be wrong with configuration, data and store is found here, before the
    first training step.

    Returns:
        The iteration that it goes on from; 0 for the beginning.

    Raises:
        RunConfigChangedError: see ``check_unchanged``.
        FileNotFoundError: the checkpoint that it starts from is not there.
        MissingStoreBlockError: nor is the block that names that checkpoint's store.
        StoreError: the store cannot be written, or the newest checkpoint cannot be loaded safely.
        ValueError: the configuration or its data contradict themselves; the message names where.
    """
    from dacapo_core.data.intensity_range import described
    from dacapo_core.settings import get_settings
    from dacapo_core.training.checks import check_run
    from dacapo_core.training.follower_ranks import build_run
    from dacapo_core.training.process_group import device_of_process
    from dacapo_core.training.processes import current_processes
    from dacapo_core.training.resume import resume

    live = live_run(run.name)
    live.progress.phase("preparing")
    # a run that has no checkpoint yet has nothing that another configuration could spoil
    begun = live.store.iterations(run.name)
    stored = live.store.run_config(run.name) if begun else None
    check_unchanged(run, None if stored is None else RunConfig.model_validate(stored))
    if not begun and run.start_config is not None:
        # a start that is not there is said before a device is taken
        open_start(live, run.start_config).iteration()
    processes = current_processes()
    device = device_of_process(get_settings().device) if processes.several else None
    live.built = build_run(run, device or get_settings().device, processes)
    found = resume(live.built, live.store)
    if found.iteration < run.num_iterations:
        check_run(live.built, live.store)
        live.store.store_run_config(run.name, run.model_dump(mode="json"))
        if found.iteration == 0:
            live.store.store_intensities(run.name, live.built.intensities)
        live.event_files = _event_files(live, found.iteration)
    live.progress.at(found.iteration)
    if processes.restarts:
        live.progress.note(
            f"{run.name}: started again after the death of a process, time {processes.restarts} of "
            f"at most {processes.most_restarts}"
        )
    live.progress.note(
        f"{run.name}: {'begins' if found.iteration == 0 else 'resumes'} at iteration "
        f"{found.iteration} of {run.num_iterations}: {found.reason}"
    )
    if found.iteration < run.num_iterations:
        live.progress.note(f"{run.name}: {described(live.built.datasplit.ranges)}")
    if found.iteration > 0:
        release_start(live)
    return found.iteration


def _event_files(live: LiveRun, iteration: int) -> EventFiles | None:
    from dacapo_core.settings import get_settings
    from dacapo_core.store.records.scores import best_scores
    from dacapo_core.training.tensorboard import EventFiles

    folder = get_settings().tensorboard_dir
    if folder is None:
        return None
    return EventFiles(folder, live.name, iteration, best_scores(live.store.scores(live.name)))


def check_unchanged(config: RunConfig, stored: RunConfig | None) -> None:
    """Refuse to go on with a run that was begun with another configuration.

    More iterations are allowed, with what the learning rate does then, and ``CHANGEABLE_FIELDS``:
    threads that prepare batches, processes that share them, and what each process holds.

    Raises:
        RunConfigChangedError: it names each field with its stored and its new value.
    """
    if stored is None:
        return
    changed = stored.difference(config)
    for free in CHANGEABLE_FIELDS:
        changed.pop(free, None)
    if config.num_iterations >= stored.num_iterations:
        changed.pop("num_iterations", None)
    if config.num_iterations > stored.num_iterations:
        changed.pop("trainer_config.extension", None)
    if changed:
        listed = "; ".join(f"{field}: {old!r} → {new!r}" for field, (old, new) in changed.items())
        raise RunConfigChangedError(
            f"run {config.name!r} was begun with another configuration ({listed}). Give it "
            f"another name, or the stored values; only num_iterations may be raised, and "
            f"{', '.join(CHANGEABLE_FIELDS)} be any"
        )

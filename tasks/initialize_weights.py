"""Load a start into a live run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.logging import get_run_logger

from dacapo_core.data.intensity_range import compared_with_start
from tasks.pages.loading_page import loading_page
from tasks.runtime.artifacts import publisher
from tasks.runtime.runs_in_training import LiveRun, live_run
from tasks.runtime.start_pins import kept_report, open_start, release_start
from tasks.runtime.task_decorator import task
from tasks.runtime.ui_paths import artifact_key

if TYPE_CHECKING:
    from dacapo_core.experiments.starts import Start


@task("start of {run}")
def initialize_weights(run: str) -> float:
    """Load the run's start into its model, keep the loading report with it and show it.

    The start is pinned in its store until the run has a checkpoint of its own.

    Returns:
        The share of the model's parameters that was loaded.

    Raises:
        FileNotFoundError: no such run or checkpoint; the message lists those there are.
        StartError: too little of it fits; the model is untouched.
    """
    live = live_run(run)
    live.progress.phase("loading its start")
    config = live.run.config.start_config
    if config is None:
        raise ValueError(f"run {run!r} has no start_config")
    start = open_start(live, config)
    # an earlier attempt that was killed before its first checkpoint may have pinned another
    release_start(live)
    start.pin(run)
    live.start_pinned = True
    try:
        report = start.initialize_weights(live.run.model, optimizer=live.run.optimizer)
    except BaseException:
        release_start(live)
        raise
    live.store.store_start_report(run, kept_report(report, config))
    for line in report.summary().splitlines():
        live.progress.show(f"{run}: {line}")
    _compare_intensities(live, start)
    publisher.page(
        artifact_key("start", run), loading_page(run, report), f"What {run} loaded from its start"
    )
    publisher.table(
        artifact_key("start-tensors", run), report.table(), f"Each tensor that {run} started with"
    )
    return report.share_loaded


def _compare_intensities(live: LiveRun, start: Start) -> None:
    """Say how the start's raw data was scaled, if that is known."""
    volumes = live.run.datasplit
    theirs = start.raw_ranges(dataset.raw.dtype for dataset in volumes.train)
    if not theirs:
        return
    said, far = compared_with_start(list(volumes.ranges.values()), theirs, start.name)
    if far:
        get_run_logger().warning("%s: %s", live.name, said)
    else:
        live.progress.note(f"{live.name}: {said}")

"""The loop that ``train`` and ``finetune`` share: what happens in which order to one run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prefect.exceptions import Pause
from prefect.logging import get_run_logger

from dacapo_core.store.errors import RetentionError
from dacapo_core.training.launch import started_by_launcher
from flows.broken_pipe import survive_broken_pipe
from flows.group import train_in_group
from flows.run_summary import RunSummary, summarise
from tasks.begin_run import begin_run
from tasks.initialize_weights import initialize_weights
from tasks.pages.run_pruning import RunPruning
from tasks.prune import prune
from tasks.publish_report import publish_report
from tasks.publish_training_status import note_training, noted_end
from tasks.request_validation import await_validations, find_deployment, request_validations
from tasks.runtime.artifacts import publisher
from tasks.runtime.dead_attempts import end_tasks_of_earlier_attempts
from tasks.runtime.open_stores import store_url
from tasks.runtime.provenance import who
from tasks.runtime.runs_in_training import LiveRun, run_in_training
from tasks.runtime.stop_signals import stop_signals
from tasks.store_best import store_best
from tasks.store_weights import settle, store_weights
from tasks.train_intervals import grouped_intervals, train_intervals
from tasks.train_until import train_until
from tasks.validate import validate

if TYPE_CHECKING:
    from dacapo_core.experiments.run_config import RunConfig
    from dacapo_core.store.retention import RetentionPolicy


def training_loop(
    run: RunConfig,
    store: str | None,
    retention: RetentionPolicy,
    validation_deployment: str | None = None,
) -> RunSummary:
    """Resume or begin a run, then until it is done: train, store, validate, keep best, prune.

    A run of several processes is trained by a group of processes that this one starts and watches,
    unless torch's launcher started this one as a member.

    Every task can be repeated: a run killed between any two of them continues, and ends with the
    checkpoints that an undisturbed one keeps.

    Args:
        store: path or URL; default the one that the settings name.
        validation_deployment: judges each stored checkpoint on another worker while this one
            goes on; default: validate in place.

    Raises:
        ValidationDeploymentError: there is no such deployment.
        LeaseHeldError: another process trains this run.
        RunConfigChangedError: the store holds a run of this name that was configured otherwise.
        GroupError: the processes that were to train it do not fit together.
        ProcessDiedError: one of them died, more often than they may be started again.
    """
    survive_broken_pipe()
    if run.trainer_config.processes > 1 and not started_by_launcher():
        return train_in_group(run, store, retention, validation_deployment)
    started = time.monotonic()
    end_tasks_of_earlier_attempts()
    url = store_url(store)
    if validation_deployment is not None:
        find_deployment(validation_deployment)
    with (
        publisher.caught_up(),
        run_in_training(run.name, run.num_iterations, url, owner=who()) as current,
        noted_end(current),
    ):
        at = begin_run(run)
        if at < run.num_iterations:
            note_training(current)
        if at == 0 and run.start_config is not None:
            initialize_weights(run.name)
            # there is no checkpoint yet that another worker could judge
            validate(run.name, 0)
        elif at > 0:
            # the last process may have died between storing and judging
            validated = at not in current.unjudged()
            _judge(run.name, at, url, validation_deployment, validated=validated)
            _prune_and_report(run.name, url, retention)

        def interval(stop: int) -> int:
            reached = _train_and_store(current, stop)
            if not current.asked_to_end:
                _judge(run.name, reached, url, validation_deployment, validated=False)
                _prune_and_report(run.name, url, retention)
            return reached

        for stops in grouped_intervals([stop for stop in run.validation_iterations() if stop > at]):
            current.end_if_asked()
            if len(stops) == 1:
                interval(stops[0])
            else:
                train_intervals(run.name, stops[-1], len(stops), stops, interval)
            current.end_if_asked()
        if validation_deployment is not None:
            await_validations(run.name)
            current.end_if_asked()
            store_best(run.name, url)
            _prune_and_report(run.name, url, retention)
        return summarise(
            run.name,
            url,
            retention,
            num_iterations=run.num_iterations,
            began_at=at,
            seconds=time.monotonic() - started,
        )


def _train_and_store(current: LiveRun, stop: int) -> int:
    """Train until ``stop`` and store; asked to stop, store what there is and settle it."""
    before = current.run.iteration
    try:
        with stop_signals.held():
            reached = train_until(current.name, stop)
            if reached > before:
                store_weights(current.name, reached)
            if current.asked_to_end:
                settle(current.name, reached)
    except Pause:
        # suspended: Prefect raises this where a task begins or ends; what was trained is stored
        trained = current.run.iteration
        if trained > before and trained != current.store.latest_iteration(current.name):
            store_weights.fn(current.name, trained)
        raise
    return reached


def _judge(
    name: str, iteration: int, url: str, validation_deployment: str | None, *, validated: bool
) -> None:
    """Score an iteration, or have it scored elsewhere, and move the best to what scores say."""
    if validation_deployment is not None:
        settle(name, iteration)
        request_validations(name, validation_deployment)
        store_best(name, url)
        return
    if not validated:
        validate(name, iteration)
        settle(name, iteration)
    store_best(name, url, judged=iteration)


def _prune_and_report(name: str, url: str, retention: RetentionPolicy) -> None:
    """Prune, now that the scores are there, and update the report."""
    try:
        done = RunPruning(name, prune(name, retention, url))
        if done.let_go:
            get_run_logger().info(done.line())
    except RetentionError as error:
        # the policy may fit later, when there are scores or more checkpoints
        get_run_logger().warning("%s; training goes on", error)
    publish_report(name)

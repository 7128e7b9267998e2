"""The training loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

from dacapo_core.data.loader import load_batches
from dacapo_core.data.placement import Place
from dacapo_core.data.workers import (
    WORTH_SAYING,
    WorkTimes,
    available_cores,
    waiting_advice,
    waiting_cause,
)
from dacapo_core.data_parallel import lead
from dacapo_core.experiments.run import Run
from dacapo_core.experiments.starts.model_head import freeze_backbone
from dacapo_core.experiments.trainers.errors import TrainingDivergedError
from dacapo_core.experiments.training_stats import TrainingIterationStats, TrainingStats
from dacapo_core.training.readback import LAG, Finished, Readback
from dacapo_core.training.step import TrainingStep

logger = logging.getLogger(__name__)


def train_until(
    run: Run,
    until: int,
    *,
    on_iteration: Callable[[TrainingIterationStats], None] | None = None,
) -> TrainingStats:
    """Train `run` from where it is until `until` iterations are done.

    `on_iteration` is called once for each iteration, when the host knows what came of it. On a
    GPU that is some iterations after it was queued: ``run.iteration`` counts those that are
    queued, and is what the weights are of when this returns or raises. An exception that
    `on_iteration` raises ends training with the run in order. With ``trainer_config.processes``
    above 1, the first call starts the other processes; they end with this one. Where more than a
    tenth of the time was spent waiting for data, one line of the log says why.

    Returns:
        The iterations of this call; ``run.training_stats`` has them too.

    Raises:
        TrainingDivergedError: loss or gradient was not finite for
            ``trainer_config.max_skipped`` iterations in a row.
        ArrayError: the data holds values that cannot be used; nothing was learnt from them.
        OutOfMemoryError: the device has too little memory; the message says what to turn down.
        MemberDiedError: another process of the run ended.
    """
    stats = TrainingStats(run.config.batch_size)
    if run.iteration >= until:
        return stats
    if run.config.trainer_config.processes > 1 and run.team is None:
        run.team = lead(run.config, run.device)
    team = run.team
    if team is not None:
        team.tell(until)
        team.share_state(run)

    def go_on() -> None:
        if team is not None:
            team.tell(True)

    stopped: BaseException | None = None

    def report(done: Finished) -> bool:
        nonlocal stopped
        stats.iteration_stats.append(done.stats)
        run.training_stats.iteration_stats.append(done.stats)
        if stopped is None:
            try:
                if done.faulty:
                    run.explain_fault(done.stats.iteration - 1)
                if on_iteration is not None:
                    on_iteration(done.stats)
                if run.skipped_in_a_row >= run.config.trainer_config.max_skipped:
                    raise _diverged(run, done.stats)
            except BaseException as error:
                stopped = error
        return stopped is None

    times, began = WorkTimes(), perf_counter()
    try:
        _train(run, until, go_on, report, times)
    except BaseException:
        # in the middle of a step the members cannot be told anything
        if team is not None:
            run.team = None
            team.close()
        raise
    if stopped is not None:
        if team is not None and run.iteration < until:
            team.tell(False)
        raise stopped
    _say_why_it_waited(run, stats, times, perf_counter() - began)
    return stats


class _Stopped(Exception):
    """The leader ends a stretch of training early."""


def follow(run: Run, until: int) -> None:
    """As a member of the run's team, train along with the leader until `until`, or less far.

    Raises:
        ArrayError: this member's share of the data holds values that cannot be used.
    """
    team = run.team
    assert team is not None
    team.share_state(run)

    def go_on() -> None:
        if not team.hear():
            raise _Stopped

    def report(done: Finished) -> bool:
        if done.faulty:
            run.explain_fault(done.stats.iteration - 1)
        return True

    with suppress(_Stopped):
        _train(run, until, go_on, report, WorkTimes())


def _train(
    run: Run,
    until: int,
    go_on: Callable[[], None],
    report: Callable[[Finished], bool],
    times: WorkTimes,
) -> None:
    """Queue steps until `until`, or until `report` of one that is done says to end."""
    trainer = run.config.trainer_config
    step = TrainingStep(
        run.training_model,
        run.task.loss,
        run.optimizer,
        run.scaler,
        run.device,
        run.dtype,
        trainer.gradient_clip,
        run.memory_format,
        run.team.average if run.team is not None else None,
        run.placement.leave_device,
        uncompiled=run.model,
    )
    readback = Readback(run.device)

    def settle(at_most: int) -> bool:
        wanted = True
        for done in readback.finished(at_most):
            run.skipped_in_a_row = run.skipped_in_a_row + 1 if done.stats.skipped else 0
            wanted = report(done) and wanted
        return wanted

    run.model.train()
    with (
        run.random_state(),
        load_batches(
            run.batch_source, run.device, run.iteration, until, run.num_workers, times
        ) as batches,
    ):
        try:
            for loaded in batches:
                go_on()
                _freeze_or_thaw(run)
                rate = run.set_learning_rate()
                result = step(loaded.parts)
                run.iteration += 1
                if run.average is not None:
                    # a step that is not taken may have waited for nothing
                    run.state_fence.wait()
                    run.average.follow(run.model, result.taken)
                readback.add(run.iteration, rate, loaded, result)
                if not settle(LAG):
                    break
        finally:
            # the weights have these steps in them, whatever happened after
            settle(0)
            run.training_model = step.model


def _say_why_it_waited(run: Run, stats: TrainingStats, times: WorkTimes, seconds: float) -> None:
    stretch = stats.without_first()
    if stretch.waiting_share <= WORTH_SAYING:
        return
    workers, cores = run.num_workers, available_cores()
    cause = waiting_cause(times, seconds, workers, cores)
    advice = waiting_advice(
        cause,
        workers,
        cores,
        Place.STREAMED in run.placement.places,
        run.config.trainer_config.augmentation.elastic_displacement > 0,
    )
    logger.warning(
        "run %r waited for data for %.0f%% of the time of iterations %d to %d (%s): %s",
        run.name,
        100 * stretch.waiting_share,
        stats.iterations[0],
        stats.iterations[-1],
        cause.value,
        advice,
    )


def _freeze_or_thaw(run: Run) -> None:
    start = run.config.start_config
    if start is not None and start.freeze_iterations and run.iteration <= start.freeze_iterations:
        freeze_backbone(run.model, run.iteration < start.freeze_iterations)


def _diverged(run: Run, last: TrainingIterationStats) -> TrainingDivergedError:
    return TrainingDivergedError(
        f"run {run.name!r}: {run.skipped_in_a_row} iterations in a row had a loss or gradient that "
        f"is not finite (at iteration {last.iteration}: loss {last.loss}, gradient norm "
        f"{last.gradient_norm}) and were skipped. Lower learning_rate "
        f"({run.config.learning_rate}), set trainer_config.mixed_precision to 'off', or look for "
        "NaN in the raw data; then start again from the last checkpoint"
    )

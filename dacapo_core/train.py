"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from math import isfinite
from time import perf_counter

from dacapo_core.data_parallel import lead
from dacapo_core.experiments.run import Run
from dacapo_core.experiments.starts.model_head import freeze_backbone
from dacapo_core.experiments.trainers.errors import TrainingDivergedError
from dacapo_core.experiments.training_stats import TrainingIterationStats, TrainingStats
from dacapo_core.training.step import TrainingStep


def train_until(
    run: Run,
    until: int,
    *,
    on_iteration: Callable[[TrainingIterationStats], None] | None = None,
) -> TrainingStats:
    """Train `run` from where it is until `until` iterations are done.

    After each iteration ``run.iteration`` counts it and `on_iteration` is called; an exception
    that it raises ends training with the run in order. With ``trainer_config.processes`` above 1,
    the first call starts the other processes; they end with this one.

    Returns:
        The iterations of this call; ``run.training_stats`` has them too.

    Raises:
        TrainingDivergedError: loss or gradient was not finite for
            ``trainer_config.max_skipped`` iterations in a row.
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
    try:
        with closing(_iterations(run, until, go_on)) as iterations:
            for done in iterations:
                stats.iteration_stats.append(done)
                run.training_stats.iteration_stats.append(done)
                try:
                    if on_iteration is not None:
                        on_iteration(done)
                    if run.skipped_in_a_row >= run.config.trainer_config.max_skipped:
                        raise _diverged(run, done)
                except BaseException as error:
                    stopped = error
                    break
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
    return stats


class _Stopped(Exception):
    """The leader ends a stretch of training early."""


def follow(run: Run, until: int) -> None:
    """As a member of the run's team, train along with the leader until `until`, or less far."""
    team = run.team
    assert team is not None
    team.share_state(run)

    def go_on() -> None:
        if not team.hear():
            raise _Stopped

    try:
        for _ in _iterations(run, until, go_on):
            pass
    except _Stopped:
        return


def _iterations(
    run: Run, until: int, go_on: Callable[[], None]
) -> Generator[TrainingIterationStats]:
    config = run.config
    step = TrainingStep(
        run.training_model,
        run.task.loss,
        run.optimizer,
        run.scaler,
        run.device,
        run.dtype,
        config.trainer_config.gradient_clip,
        run.memory_format,
        run.team.average if run.team is not None else None,
    )
    run.model.train()
    with (
        run.random_state(),
        run.batch_source.stream(run.iteration, until, config.num_workers) as batches,
    ):
        before = perf_counter()
        for batch in batches:
            go_on()
            _freeze_or_thaw(run)
            rate = run.set_learning_rate()
            loss, norm = step(batch)
            skipped = not (isfinite(loss) and isfinite(norm))
            run.finish_iteration(skipped)
            now = perf_counter()
            yield TrainingIterationStats(run.iteration, loss, norm, rate, now - before, skipped)
            before = now


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

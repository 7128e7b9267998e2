"""The training loop."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from time import perf_counter

from dacapo_core.experiments.run import Run
from dacapo_core.experiments.starts.model_head import freeze_backbone
from dacapo_core.experiments.trainers.training_step import TrainingDivergedError, TrainingStep
from dacapo_core.experiments.training_stats import TrainingIterationStats, TrainingStats


def train_until(
    run: Run,
    until: int,
    *,
    on_iteration: Callable[[TrainingIterationStats], None] | None = None,
) -> TrainingStats:
    """Train `run` from where it is until `until` iterations are done.

    After each iteration ``run.iteration`` counts it and `on_iteration` is called; an exception
    that it raises ends training with the run in order.

    Returns:
        The iterations of this call; ``run.training_stats`` has them too.

    Raises:
        TrainingDivergedError: loss or gradient was not finite for
            ``trainer_config.max_skipped`` iterations in a row.
        OutOfMemoryError: the device has too little memory; the message says what to turn down.
    """
    config = run.config
    stats = TrainingStats(config.batch_size)
    step = TrainingStep(
        run.training_model,
        run.task.loss,
        run.optimizer,
        run.scaler,
        run.device,
        run.dtype,
        config.trainer_config.gradient_clip,
        run.memory_format,
    )
    run.model.train()
    source = run.batch_source
    with (
        run.random_state(),
        source.stream(run.iteration, until, config.num_workers) as batches,
    ):
        before = perf_counter()
        for batch in batches:
            _freeze_or_thaw(run)
            rate = run.set_learning_rate()
            loss, norm = step(batch)
            skipped = not (isfinite(loss) and isfinite(norm))
            run.finish_iteration(skipped)
            now = perf_counter()
            done = TrainingIterationStats(run.iteration, loss, norm, rate, now - before, skipped)
            before = now
            stats.iteration_stats.append(done)
            run.training_stats.iteration_stats.append(done)
            if on_iteration is not None:
                on_iteration(done)
            if run.skipped_in_a_row >= config.trainer_config.max_skipped:
                raise _diverged(run, done)
    return stats


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

"""The training loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

from torch import nn

from dacapo_core.data.batch_source import Batch
from dacapo_core.data.loader import Loaded, load_batches
from dacapo_core.data.loader_workers import available_cores
from dacapo_core.data.loading_bottleneck import (
    WORTH_SAYING,
    WorkTimes,
    waiting_advice,
    waiting_cause,
)
from dacapo_core.data.volume_placement import Place
from dacapo_core.experiments.starts.model_head import freeze_backbone
from dacapo_core.training.data_parallel import share_state, without_sum
from dacapo_core.training.errors import TrainingDivergedError
from dacapo_core.training.run import Run
from dacapo_core.training.step import TrainingStep
from dacapo_core.training.step_results import LAG, Finished, Readback
from dacapo_core.training.training_stats import TrainingIterationStats, TrainingStats

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
    `on_iteration` raises ends training with the run in order. As rank 0 of several processes,
    the others train along; it returns early, with the run in order, where one of them was asked to
    end. Where more than a tenth of the time was spent waiting for data, one line of the log says
    why.

    Returns:
        The iterations of this call; ``run.training_stats`` has them too.

    Raises:
        TrainingDivergedError: loss or gradient was not finite for
            ``trainer_config.max_skipped`` iterations in a row.
        ArrayError: the data holds values that cannot be used; nothing was learnt from them.
        OutOfMemoryError: the device has too little memory; the message says what to turn down.
        ProcessDiedError: another process of the run ended.
    """
    stats = TrainingStats(run.config.batch_size)
    if run.iteration >= until:
        return stats
    if run.processes.leads:
        run.processes.tell(("train", (until, not run.is_shared)))
        if not run.is_shared:
            share_state(run)
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
        with run.processes.together():
            _train(run, until, report, times)
    except Exception:
        # what another process found may be why this one was to stop
        if stopped is not None and not run.processes.broken:
            raise stopped from None
        raise
    if stopped is not None:
        raise stopped
    _say_why_it_waited(run, stats, times, perf_counter() - began)
    return stats


def follow_training(run: Run, until: int, share: bool) -> None:
    """As a process other than rank 0, train along with it until `until`, or less far.

    Raises:
        Exception: what was wrong in one of the processes.
    """
    if share:
        share_state(run)
    with run.processes.together():
        _train(run, until, lambda done: True, WorkTimes())


def _train(run: Run, until: int, report: Callable[[Finished], bool], times: WorkTimes) -> None:
    """Queue steps until `until`, or until `report` of one that is done says to end.

    Where several processes train, they agree before each step that all of them take it: one that
    has no batch must not leave the others waiting for its gradients.
    """
    processes = run.processes
    readback = Readback(run.device)
    wanted = True
    fault: Exception | None = None

    def settle(at_most: int) -> None:
        nonlocal wanted, fault
        for done in readback.finished(at_most):
            run.skipped_in_a_row = run.skipped_in_a_row + 1 if done.stats.skipped else 0
            wanted = report(done) and wanted
            if done.faulty and processes.rank > 0:
                fault = fault or _fault_of(run, done)

    step: TrainingStep | None = None
    run.model.train()
    with run.training(), run.random_state.in_use(), _batches(run, until, times) as batches:
        try:
            while run.iteration < until and (wanted or processes.several):
                loaded = None
                try:
                    loaded = next(batches)
                except Exception as error:
                    fault = fault or error
                if not processes.agree(stop=not wanted, error=fault):
                    break
                assert loaded is not None
                if _freeze_or_thaw(run):
                    run.rewrap()
                    step = None
                rate = run.set_learning_rate()
                step = step or _step(run, loaded.parts[0])
                result = step(loaded.parts)
                run.iteration += 1
                if run.average is not None:
                    # a step that is not taken may have waited for nothing
                    run.state_fence.wait()
                    run.average.follow(run.model, result.taken)
                readback.add(run.iteration, rate, loaded, result)
                settle(LAG)
        finally:
            # the weights have these steps in them, whatever happened after
            settle(0)
            if step is not None:
                run.training_model = step.model
    processes.agree(stop=not wanted, error=fault)


def _step(run: Run, first: Batch) -> TrainingStep:
    """What takes steps from here on; `first` is the first part of the first batch."""
    several = run.processes.several
    if several and not run.is_wrapped and _can_try_alone(run):
        # torch's wrapper would take a pass of one process for a step of all
        _step_of(run, run.model, run.model, make_room=run.placement.leave_device).try_out(first)
    return _step_of(
        run,
        run.training_model,
        run.wrapped_model,
        # one process alone cannot begin a step anew
        make_room=None if several else run.placement.leave_device,
        mean=run.processes.mean if several else None,
        unsummed=without_sum(run.wrapped_model),
    )


def _step_of(run: Run, model: nn.Module, uncompiled: nn.Module, **how: Any) -> TrainingStep:
    return TrainingStep(
        model,
        run.task.loss,
        run.optimizer,
        run.scaler,
        run.device,
        run.dtype,
        run.config.trainer_config.gradient_clip,
        run.memory_format,
        uncompiled=uncompiled,
        **how,
    )


def _can_try_alone(run: Run) -> bool:
    """Whether room could be made for a step, and a process can find out without the others."""
    sums_within = run.is_sharded or run.config.trainer_config.sync_batch_norm
    return Place.DEVICE in run.placement.places and not sums_within


@contextmanager
def _batches(run: Run, until: int, times: WorkTimes) -> Iterator[Iterator[Loaded]]:
    """This process's share of each batch up to `until`; what is wrong with it comes with the first.

    Whatever is wrong in one process is then known to all.
    """
    with ExitStack() as stack:

        def opened() -> Iterator[Loaded]:
            yield from stack.enter_context(
                load_batches(
                    run.batch_source, run.device, run.iteration, until, run.num_workers, times
                )
            )

        yield opened()


def _fault_of(run: Run, done: Finished) -> Exception:
    try:
        run.explain_fault(done.stats.iteration - 1)
    except Exception as error:
        return error
    return RuntimeError(f"the batch of iteration {done.stats.iteration} cannot be used")


def _say_why_it_waited(run: Run, stats: TrainingStats, times: WorkTimes, seconds: float) -> None:
    stretch = stats.without_first()
    if stretch.waiting_share <= WORTH_SAYING:
        return
    workers = run.num_workers
    cores = max(1, available_cores() // run.processes.here)
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


def _freeze_or_thaw(run: Run) -> bool:
    """Keep the backbone as long as it is to be; whether other parameters are trained from here."""
    start = run.config.start_config
    if start is None or not start.freeze_iterations or run.iteration > start.freeze_iterations:
        return False
    before = [parameter.requires_grad for parameter in run.model.parameters()]
    freeze_backbone(run.model, run.iteration < start.freeze_iterations)
    return before != [parameter.requires_grad for parameter in run.model.parameters()]


def _diverged(run: Run, last: TrainingIterationStats) -> TrainingDivergedError:
    return TrainingDivergedError(
        f"run {run.name!r}: {run.skipped_in_a_row} iterations in a row had a loss or gradient that "
        f"is not finite (at iteration {last.iteration}: loss {last.loss}, gradient norm "
        f"{last.gradient_norm}) and were skipped. Lower learning_rate "
        f"({run.config.learning_rate}), set trainer_config.mixed_precision to 'off', or look for "
        "NaN in the raw data; then start again from the last checkpoint"
    )

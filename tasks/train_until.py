"""Train a live run until an iteration."""

from __future__ import annotations

import signal
from collections import deque
from typing import TYPE_CHECKING

from tasks.pages.formatting import readable_bytes
from tasks.runtime.runs_in_training import live_run
from tasks.runtime.stop_signals import stop_signals
from tasks.runtime.task_decorator import task

if TYPE_CHECKING:
    from dacapo_core.training.training_stats import TrainingIterationStats


RATE_OVER = 20


class _AskedToEnd(Exception):
    """Leaves the training loop between two iterations."""


@task("train {run} until {iteration}")
def train_until(run: str, iteration: int) -> int:
    """Train until ``iteration``, or until it is asked to stop; see ``LiveRun.asked_to_end``.

    Returns:
        The iteration reached; less than asked only where that was so, with the state whole.
    """
    from dacapo_core.train import train_until as train
    from dacapo_core.training.device import peak_memory

    live = live_run(run)
    live.progress.phase("training")
    before = live.run.iteration

    seconds: deque[float] = deque(maxlen=RATE_OVER)

    def on_iteration(stats: TrainingIterationStats) -> None:
        seconds.append(stats.time)
        rate = live.run.config.batch_size * len(seconds) / sum(seconds)
        live.progress.at(
            stats.iteration,
            f"loss {stats.loss:.4f}",
            f"{rate:.2f} samples/s",
            f"lr {stats.learning_rate:.1e}",
            readable_bytes(peak_memory(live.run.device)),
        )
        if live.asked_to_end:
            raise _AskedToEnd

    try:
        train(live.run, iteration, on_iteration=on_iteration)
    except _AskedToEnd:
        live.progress.note(f"{run}: asked to stop at iteration {live.run.iteration}")
    if live.run.iteration < iteration and not live.asked_to_end:
        # one of the processes that train along was
        stop_signals.asked = signal.SIGTERM
        live.progress.note(
            f"{run}: another process was asked to stop, at iteration {live.run.iteration}"
        )
    live.stats_since_checkpoint = live.run.training_stats.after(before)
    return live.run.iteration

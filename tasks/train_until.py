"""Train a live run until an iteration."""

from __future__ import annotations

from tasks.live_runs import live_run, termination_deferred
from tasks.step import step


class _Terminated(Exception):
    """Leaves the training loop between two iterations."""


@step("train {run} until {iteration}")
def train_until(run: str, iteration: int) -> int:
    """Train until ``iteration``, or until SIGTERM asks to stop.

    Returns:
        The iteration reached; less than asked only after SIGTERM, with the state whole.
    """
    from dacapo_core.train import train_until as train

    live = live_run(run)
    live.progress.phase("training")

    def on_iteration(stats: object) -> None:
        live.progress.at(live.run.iteration, f"loss {getattr(stats, 'loss', float('nan')):.4f}")
        if live.termination.is_set():
            raise _Terminated

    with termination_deferred(live):
        try:
            train(live.run, iteration, on_iteration=on_iteration)
        except _Terminated:
            live.progress.note(f"{run}: asked to stop at iteration {live.run.iteration}")
    return live.run.iteration

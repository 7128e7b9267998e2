"""Go through many validation intervals as one task run.

A task run takes some 30 kB of the server's database, its events included, and a month-long run has
ten thousand validations of seven task runs each. Each task of the first intervals is a task run;
of the many intervals that follow, each group is one, inside which tasks are plain functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.runtime.batched_events import EventBatch, event_batch
from tasks.runtime.events import send_checkpoint_event
from tasks.runtime.runs_in_training import live_run
from tasks.runtime.task_decorator import task

ALONE, TOGETHER = 20, 40
"""How many intervals come first, each alone, and into how many groups all others go."""


def grouped_intervals(stops: Sequence[int]) -> list[Sequence[int]]:
    """Group the ends of validation intervals; each group is one task run."""
    if len(stops) <= ALONE + TOGETHER:
        return [[stop] for stop in stops]
    later = stops[ALONE:]
    size = -(-len(later) // TOGETHER)
    return [
        *([stop] for stop in stops[:ALONE]),
        *(later[first : first + size] for first in range(0, len(later), size)),
    ]


@task("train {run} until {iteration}, with {validations} validations")
def train_intervals(
    run: str,
    iteration: int,
    validations: int,
    stops: Sequence[int],
    interval: Callable[[int], int],
) -> int:
    """Go through many validation intervals as one task run, until done or asked to stop.

    Args:
        stops: where the intervals end, the last at ``iteration``.
        interval: trains until an iteration, stores, judges and prunes.

    Returns:
        The iteration reached.
    """
    batch = EventBatch(send_checkpoint_event)
    token = event_batch.set(batch)
    live, at = live_run(run), 0
    try:
        for stop in stops:
            at = interval(stop)
            if live.asked_to_end:
                break
    finally:
        event_batch.reset(token)
        batch.flush()
    return at

"""Publish where the training of a run is and how it ended, in the overview in its store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prefect.exceptions import Abort, Pause
from prefect.runtime import flow_run

from tasks.publish_report import show_report
from tasks.publish_store import publish_store
from tasks.runtime.runs_in_training import LiveRun

if TYPE_CHECKING:
    from dacapo_core.store.records.run_overview import TrainingNote, TrainingState

# the next status is late after this many times what the last one took, and then some
LATE_AFTER = 3.0
LATE_BY = timedelta(minutes=10)


def note_training(live: LiveRun, state: TrainingState = "training", why: str | None = None) -> None:
    """Publish where a run's training is; nothing before the run is built.

    Args:
        why: what ended it.
    """
    if live.built is not None:
        publish_store(live.name, live.store, _note(live, state, why))


@contextmanager
def noted_end(live: LiveRun) -> Iterator[None]:
    """After the block, which trains a run: publish how it ended, in its overview and its report."""
    try:
        yield
    except Exception as error:
        _end(live, "failed", f"{type(error).__name__}: {error}")
        raise
    except BaseException as asked:
        _end(live, "stopped", _request(asked))
        raise
    _end(live, "complete", None)


def _request(asked: BaseException) -> str:
    if isinstance(asked, Pause):
        return "suspended"
    if isinstance(asked, Abort):
        return str(asked)
    return "asked to end by a signal"


def _end(live: LiveRun, state: TrainingState, why: str | None) -> None:
    if live.built is None:
        return
    at = live.run.iteration
    live.ended = None if state == "complete" else f"{state} at iteration {at}: {why}"
    note_training(live, state, why)
    show_report(live)


def _note(live: LiveRun, state: TrainingState, why: str | None) -> TrainingNote:
    from dacapo_core.store.records.run_overview import TrainingNote

    config = live.run.config
    # the rate of late, once there is a checkpoint
    stats = live.stats_since_checkpoint or live.run.training_stats
    rate = stats.samples_per_second
    left = max(0, config.num_iterations - live.run.iteration) * config.batch_size
    now, heard = time.monotonic(), datetime.now(UTC)
    expected = None
    if live.noted is not None:
        expected = heard + LATE_BY + timedelta(seconds=LATE_AFTER * (now - live.noted))
    live.noted = now
    return TrainingNote(
        state=state,
        heard=heard,
        iteration=live.run.iteration,
        num_iterations=config.num_iterations,
        expected=expected,
        seconds_left=left / rate if rate else None,
        samples_per_second=rate,
        waiting_share=stats.waiting_share,
        flow_run=str(flow_run.id) if flow_run.id else None,
        why=why,
    )

"""The runs that this process trains or validates, by name.

Tasks are given a name, an iteration and a URL. The model, the optimizer, the open store and the
lease stay here, in the one process that owns the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from dacapo_core.training.launch import started_by_launcher
from tasks.runtime.flow_run_watch import FlowRunWatch
from tasks.runtime.open_stores import open_store
from tasks.runtime.progress_bar import RunProgress
from tasks.runtime.stop_signals import stop_signals

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.store.records.lease import Lease
    from dacapo_core.training.run import Run
    from dacapo_core.training.tensorboard import EventFiles
    from dacapo_core.training.training_stats import TrainingStats
    from tasks.runtime.validation_request_sender import ValidationRequestSender


# longer than a lease lives without being renewed
PATIENCE = timedelta(minutes=2)


@dataclass
class LiveRun:
    """A run between its first and its last task in this process.

    Attributes:
        lease: None where it is only validated.
        watch: whether the state of the flow run asks it to end.
        built: None until a task has built it from its configuration.
        stats_since_checkpoint: statistics of the iterations since the last checkpoint.
        event_files: TensorBoard's; None where the settings name no folder for them.
        requests: for validations on other workers; None until the first.
        noted: when its training status was last published, by ``time.monotonic``.
        ended: how it ended before it was complete.
    """

    name: str
    store: LocalWeightsStore
    lease: Lease | None
    progress: RunProgress
    watch: FlowRunWatch = field(default_factory=FlowRunWatch)
    built: Run | None = None
    stats_since_checkpoint: TrainingStats | None = None
    start_pinned: bool = False
    event_files: EventFiles | None = None
    requests: ValidationRequestSender | None = None
    noted: float | None = None
    ended: str | None = None

    @property
    def run(self) -> Run:
        """What was built from the configuration.

        Raises:
            RuntimeError: no task has built it yet.
        """
        if self.built is None:
            raise RuntimeError(f"run {self.name!r} has not begun in this process")
        return self.built

    @property
    def asked_to_end(self) -> bool:
        """Whether a signal or the state of its flow run asks it to store what it has and end."""
        return stop_signals.asked is not None or self.watch.asked is not None

    def end_if_asked(self) -> None:
        """End the flow here if a signal or the state of its flow run asks for that.

        Raises:
            Pause, Abort: its flow run's state does.
            TerminationSignal, KeyboardInterrupt: a signal does.
        """
        self.watch.end_if_asked()
        stop_signals.end_if_asked()

    def check_lease(self) -> None:
        """Make sure that this process still is the one that trains the run.

        Raises:
            LeaseLostError: another one has taken it over.
        """
        if self.lease is not None:
            self.lease.check()

    def unjudged(self) -> list[int]:
        """The stored iterations that lack scores on some validation dataset."""
        from dacapo_core.store.records.scores import unjudged

        wanted = [dataset.name for dataset in self.run.validation_datasets]
        stored = self.store.iterations(self.name)
        return unjudged(stored, self.store.scores(self.name), wanted)

    def close(self) -> None:
        """Ask for no more validations, and write out what is left of the event files."""
        if self.requests is not None:
            self.requests.close()
        if self.event_files is not None:
            self.event_files.close()


_live: dict[str, LiveRun] = {}


def live_run(name: str) -> LiveRun:
    """The run that this process trains or validates under that name.

    Raises:
        KeyError: there is none.
    """
    try:
        return _live[name]
    except KeyError:
        raise KeyError(
            f"this process trains no run {name!r}; it trains {sorted(_live) or 'none'}"
        ) from None


@contextmanager
def run_in_training(
    name: str, num_iterations: int, store: str | None, owner: str
) -> Iterator[LiveRun]:
    """Hold the lease on a run, and its state in this process, until the block ends.

    What is still being written is settled before the lease is given back, however many signals
    ask this process to stop meanwhile.

    Args:
        owner: who trains it, for the error of another process that asks for the lease.

    Raises:
        LeaseHeldError: another process trains this run.
    """
    opened = open_store(store)
    with ExitStack() as stack:
        # first, so that they end last: what is reported as cancelled is stored and holds no lease
        stack.enter_context(stop_signals.noted())
        stack.enter_context((watch := FlowRunWatch()).watching())
        lease = stack.enter_context(opened.lease(name, owner=owner, patience=_patience()))
        progress = RunProgress(name, num_iterations)
        stack.enter_context(progress.shown())
        current = LiveRun(name, opened, lease, progress, watch=watch)
        stack.enter_context(_registered(current))
        stack.callback(current.close)
        stack.callback(opened.wait)
        yield current


def _patience() -> timedelta:
    """How long to wait for the lease: after a restart, the dead rank 0 may still hold it."""
    if not started_by_launcher():
        return timedelta(0)
    from dacapo_core.training.processes import current_processes

    return PATIENCE if current_processes().restarts else timedelta(0)


@contextmanager
def run_in_validation(name: str, store: str | None) -> Iterator[LiveRun]:
    """Keep a run whose stored checkpoints are validated here; it needs no lease."""
    live = LiveRun(name, open_store(store), None, RunProgress(name, None))
    with live.progress.shown(), _registered(live):
        yield live


@contextmanager
def _registered(live: LiveRun) -> Iterator[None]:
    if live.name in _live:
        raise RuntimeError(f"this process is busy with run {live.name!r} already")
    _live[live.name] = live
    try:
        yield
    finally:
        del _live[live.name]

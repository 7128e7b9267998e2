"""The runs that this process trains, by name.

What crosses a task's border is a name, an iteration and a URL. The model, the optimizer, the open
store and the lease stay here, in the one process that owns the device.
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
        watch: what the state of the flow run asks of it.
        stretch: the iterations since the last checkpoint.
        event_files: TensorBoard's, where they are wanted.
        requests: for validations elsewhere, once there are any.
        noted: when it was last said where the run is, on the clock of ``time.monotonic``.
        ended: how it ended before it was complete.
    """

    name: str
    store: LocalWeightsStore
    lease: Lease | None
    progress: RunProgress
    watch: FlowRunWatch = field(default_factory=FlowRunWatch)
    built: Run | None = None
    stretch: TrainingStats | None = None
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
        """Whether it is to store what it has and end, by a signal or by its flow run's state."""
        return stop_signals.asked is not None or self.watch.asked is not None

    def obey(self) -> None:
        """End the flow here if a signal or its flow run's state asks for that.

        Raises:
            Pause, Abort: its flow run's state does.
            TerminationSignal, KeyboardInterrupt: a signal does.
        """
        self.watch.obey()
        stop_signals.obey()

    def check_lease(self) -> None:
        """Make sure that this process still is the one that trains the run.

        Raises:
            LeaseLostError: another one has taken it over.
        """
        if self.lease is not None:
            self.lease.check()

    def close_requests(self) -> None:
        """Ask the server for no more validations; harmless where it was never asked."""
        if self.requests is not None:
            self.requests.close()

    def close_event_files(self) -> None:
        """Write out what is left of them; harmless where there are none."""
        if self.event_files is not None:
            self.event_files.close()


_live: dict[str, LiveRun] = {}


def live_run(name: str) -> LiveRun:
    """The run that this process trains under that name.

    Raises:
        KeyError: it trains no such run.
    """
    try:
        return _live[name]
    except KeyError:
        raise KeyError(
            f"this process trains no run {name!r}; it trains {sorted(_live) or 'none'}"
        ) from None


@contextmanager
def live(name: str, num_iterations: int, store: str | None, owner: str) -> Iterator[LiveRun]:
    """Hold the lease on a run, and its live state, until the block ends.

    What is still being written is settled before the lease is given back, however many signals
    ask this process to stop meanwhile.

    Args:
        owner: said to whoever asks for the lease meanwhile.

    Raises:
        LeaseHeldError: another process trains this run.
    """
    opened = open_store(store)
    with ExitStack() as stack:
        # first, so that they end last: what is reported as cancelled is stored and holds no lease
        stack.enter_context(stop_signals.noted())
        watch = stack.enter_context(FlowRunWatch())
        lease = stack.enter_context(opened.lease(name, owner=owner, patience=_patience()))
        progress = stack.enter_context(RunProgress(name, num_iterations))
        current = LiveRun(name, opened, lease, progress, watch=watch)
        stack.enter_context(_registered(current))
        stack.callback(current.close_event_files)
        stack.callback(current.close_requests)
        stack.callback(opened.wait)
        yield current


def _patience() -> timedelta:
    """How long to wait for who holds the lease: the dead rank 0 of this group, maybe elsewhere."""
    if not started_by_launcher():
        return timedelta(0)
    from dacapo_core.training.processes import current_processes

    return PATIENCE if current_processes().restarts else timedelta(0)


@contextmanager
def judged(name: str, store: str | None) -> Iterator[LiveRun]:
    """Register a run whose stored checkpoints are judged here; it needs no lease."""
    with RunProgress(name, None) as progress:
        live = LiveRun(name, open_store(store), None, progress)
        with _registered(live):
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

"""The loop that trains a run, in a group of processes that this one starts and watches.

The flow run stays with this process, which does nothing but watch; rank 0 is a child of torch's
launcher and takes part in the flow run. So the launcher can start all of them again after a death.
"""

from __future__ import annotations

import pickle
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
from prefect.context import serialize_context
from prefect.exceptions import Abort, Pause, TerminationSignal
from prefect.logging import get_run_logger

from dacapo_core.training.errors import ProcessDiedError
from dacapo_core.training.launch import Launcher, launcher_command, launcher_environment
from tasks.runtime.stop_signals import catchable

if TYPE_CHECKING:
    from dacapo_core.experiments.run_config import RunConfig
    from flows.run_summary import RunSummary

CALL, OUTCOME, LOGS = "call", "outcome", "logs"
# for the processes to end by themselves, once there is an outcome
ENDING_SECONDS = 20.0


@dataclass(frozen=True)
class Outcome:
    """What the loop came to in the group: one of these.

    ``paused`` is the state that suspends the flow run.
    """

    summary: RunSummary | None = None
    paused: Any = None
    aborted: str | None = None
    error: Exception | None = None

    def result(self) -> RunSummary:
        """The summary, or what the flow of this process is to raise."""
        if self.summary is not None:
            return self.summary
        if self.error is not None:
            raise self.error
        if self.aborted is not None:
            raise Abort(self.aborted)
        raise Pause(state=self.paused)

    def write(self, folder: Path) -> None:
        """Leave it for the process that watches; the first that is left holds."""
        try:
            content = pickle.dumps(self)
            pickle.loads(content)
        except Exception:
            # an exception that cannot be made anew from its message
            content = pickle.dumps(
                Outcome(error=RuntimeError(f"{type(self.error).__name__}: {self.error}"))
            )
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(content)
        with suppress(FileExistsError):
            (folder / OUTCOME).hardlink_to(file.name)
        Path(file.name).unlink()

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """What was left; None while there is nothing."""
        file = folder / OUTCOME
        return pickle.loads(file.read_bytes()) if file.exists() else None


def train_in_group(run: RunConfig, *arguments: Any) -> RunSummary:
    """Call ``training_loop(run, *arguments)`` in ``trainer_config.processes`` processes.

    When one of them dies, all are started again from the newest checkpoint, at most
    ``trainer_config.max_restarts`` times. None of them outlives this process.

    Raises:
        ProcessDiedError: they died more often than that.
        Exception: what the loop raised.
    """
    trainer = run.trainer_config
    folder = Path(tempfile.mkdtemp(prefix="dacapo-"))
    call = {"run": run, "arguments": arguments, "context": serialize_context()}
    # it may hold credentials: the folder is this user's alone
    (folder / CALL).write_bytes(cloudpickle.dumps(call))
    get_run_logger().info(
        "run %r: %d processes; output of all but the first is in %s",
        run.name,
        trainer.processes,
        folder / LOGS,
    )
    program = ["flows.group_member", str(folder)]
    command = launcher_command(program, trainer.processes, trainer.max_restarts, folder / LOGS)
    try:
        environment = launcher_environment(trainer.processes)
        with Launcher(command, environment, catchable()) as launcher:
            while not launcher.ended(1.0):
                if Outcome.read(folder) is not None and not launcher.ended(ENDING_SECONDS):
                    launcher.stop()
        outcome = Outcome.read(folder)
    finally:
        for name in (CALL, OUTCOME):
            (folder / name).unlink(missing_ok=True)
    if outcome is not None:
        return outcome.result()
    if launcher.signalled == signal.SIGINT:
        raise KeyboardInterrupt
    if launcher.signalled is not None:
        raise TerminationSignal(signal.SIGTERM)
    raise ProcessDiedError(
        f"run {run.name!r}: processes that train it died, and were started again "
        f"{trainer.max_restarts} times, which is trainer_config.max_restarts; what they said is in "
        f"{folder / LOGS}. Start the run again: it resumes from its newest checkpoint"
    )

"""What a process other than rank 0 does: what it is told, until it is told to end."""

from __future__ import annotations

import logging
import signal
import threading

import torch

from dacapo_core.data.intensity_range import Intensities
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.training.checks import check_run
from dacapo_core.training.loop import follow_training
from dacapo_core.training.process_group import check_shares
from dacapo_core.training.processes import Processes
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import predict_share

logger = logging.getLogger(__name__)


def build_run(config: RunConfig, device: torch.device | str | None, processes: Processes) -> Run:
    """The run in every process of the group; as rank 0, the others are told to build theirs.

    Raises:
        Exception: what was wrong in one of them.
    """
    if processes.leads:
        processes.tell(("build", config.model_dump_json()))

    def build() -> Run:
        check_shares(config, processes)
        return Run(config, device, processes)

    return processes.agreed(build)


def follow(processes: Processes, device: torch.device) -> None:
    """Do what rank 0 tells until it ends.

    Raises:
        ProcessDiedError: another process is gone.
        SystemExit: rank 0 ends by an error.
    """
    _defer_signals(processes)
    run: Run | None = None
    while (told := processes.hear()) is not None:
        what, value = told
        try:
            if what == "exit":
                raise SystemExit(value)
            if what == "build":
                run = build_run(RunConfig.model_validate_json(value), device, processes)
            elif run is None:
                raise RuntimeError(f"told to {what} before there is a run")
            elif what == "check":
                run.iteration = value[0]
                run.take_intensities(Intensities.from_json(value[1]))
                check_run(run)
            elif what == "train":
                follow_training(run, *value)
            elif what == "predict":
                predict_share(run, *value)
            elif what == "gather":
                run.gather_state()
            else:
                raise RuntimeError(f"told to {what}, which is not known here")
        except Exception as error:
            if not processes.know(error):
                raise
            # rank 0 decides what becomes of it
            logger.exception("process %d of %d", processes.rank, processes.size)


def _defer_signals(processes: Processes) -> None:
    """Note SIGTERM and Ctrl-C; rank 0 learns of them where all agree, and tells all to end."""
    if threading.current_thread() is not threading.main_thread():
        return

    def note(*_: object) -> None:
        processes.asked_to_end = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)

"""Torch's launcher, with torchrun's options: ``python -m dacapo_core.training.launcher …``.

Beside torchrun it lets in a launcher that takes the place of one that was lost, says in one line
which host it cannot reach, and does not start again processes that would end the same way.
"""

from __future__ import annotations

import os

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError
from torch.distributed.launcher import api
from torch.distributed.run import main as torchrun

from dacapo_core.training.launch import NOT_AGAIN, PARENT, end_with_the_parent


class _Agent(LocalElasticAgent):
    """Torch's agent, which else starts its processes again whatever they ended with."""

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if any(failure.exitcode == NOT_AGAIN for failure in result.failures.values()):
            self._remaining_restarts = 0
        return result


def main() -> None:
    """Start processes and watch them.

    Raises:
        SystemExit: a process failed for the last time, the rendezvous host cannot be reached, or a
            signal asked to stop.
    """
    if os.environ.pop(PARENT, None):
        end_with_the_parent()
    # torch 2.13 else tells a launcher that comes later nothing of where rank 0 is
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    api.LocalElasticAgent = _Agent  # type: ignore[misc]
    try:
        torchrun()
    except SignalException as asked:
        # its processes have been asked, and have ended
        raise SystemExit(128 + asked.sigval) from None
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        how = (
            f"with code {failure.exitcode}"
            if failure.exitcode > 0
            else f"by {failure.signal_name()}"
        )
        raise SystemExit(
            f"process {rank} ended {how}; what it said is above, or in the folder of --log-dir"
        ) from None
    except RendezvousConnectionError as error:
        cause = error.__cause__ or error.__context__ or error
        raise SystemExit(
            f"the host that --rdzv-endpoint names cannot be reached: {cause}. It must be one of "
            "the machines, under an address and a port that the others reach, and be started too"
        ) from None


if __name__ == "__main__":
    main()

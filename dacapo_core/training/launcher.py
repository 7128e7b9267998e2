"""Torch's launcher, with torchrun's options: ``python -m dacapo_core.training.launcher …``.

Beside torchrun it lets in a launcher that takes the place of one that was lost, and says in one
line which host it cannot reach.
"""

from __future__ import annotations

import os

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError
from torch.distributed.run import main as torchrun

from dacapo_core.training.launch import PARENT, end_with_the_parent


def main() -> None:
    """Start processes and watch them.

    Raises:
        SystemExit: the rendezvous host cannot be reached, or a signal asked to stop.
    """
    if os.environ.pop(PARENT, None):
        end_with_the_parent()
    # torch 2.13 else tells a launcher that comes later nothing of where rank 0 is
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    try:
        torchrun()
    except SignalException as asked:
        # its processes have been asked, and have ended
        raise SystemExit(128 + asked.sigval) from None
    except RendezvousConnectionError as error:
        cause = error.__cause__ or error.__context__ or error
        raise SystemExit(
            f"the host that --rdzv-endpoint names cannot be reached: {cause}. It must be one of "
            "the machines, under an address and a port that the others reach, and be started too"
        ) from None


if __name__ == "__main__":
    main()

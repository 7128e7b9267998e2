"""A process that shares the training of a run: ``python -m dacapo_core.data_parallel_member``.

Started by `dacapo_core.data_parallel.lead`, which writes the run's configuration to its input.
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist

from dacapo_core.data_parallel import HOST, TIMEOUT, Team, end_with_the_leader
from dacapo_core.experiments.run import Run
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.training.loop import follow


def main(port: int, rank: int, device: str) -> None:
    """Train along with the leader until it ends."""
    config = RunConfig.model_validate_json(sys.stdin.buffer.readline())
    end_with_the_leader()
    store = dist.TCPStore(HOST, port, config.trainer_config.processes, False, TIMEOUT)
    if device == "cuda":
        torch.cuda.set_device(rank)
    run = Run(config, f"cuda:{rank}" if device == "cuda" else device)
    run.team = Team(config, rank, store, device)
    while True:
        follow(run, run.team.hear())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

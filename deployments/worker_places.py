"""Which workers a machine has: one for each GPU, and one for what needs none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

WORK_POOL = "gpu"
TRAINING_QUEUE = "default"
LIGHT_QUEUE = "light"
LIGHT_RUNS = 4

MARK = "DACAPO_WORKER"


@dataclass(frozen=True)
class WorkerPlace:
    """One worker.

    Attributes:
        limit: how many runs at a time.
        device: the GPU that they see; empty for none.
    """

    name: str
    queue: str
    limit: int
    device: str

    @property
    def environment(self) -> dict[str, str]:
        """What its runs need to see that GPU alone; indices are those of ``nvidia-smi``."""
        return {
            "CUDA_VISIBLE_DEVICES": self.device,
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            MARK: self.mark,
        }

    @property
    def mark(self) -> str:
        """The value of ``DACAPO_WORKER`` in its runs' environment, by which they are found."""
        return f"{self.name} of {os.environ.get('PREFECT_API_URL', 'the default server')}"

    @property
    def arguments(self) -> list[str]:
        """Those of ``python -m deployments.worker``."""
        return [self.name, self.queue, str(self.limit)]


def training_place(host: str, device: str) -> WorkerPlace:
    """The worker of one GPU; of the CPU where ``device`` is empty."""
    return WorkerPlace(f"{host}-{f'gpu{device}' if device else 'cpu'}", TRAINING_QUEUE, 1, device)


def places(host: str, devices: Sequence[str]) -> list[WorkerPlace]:
    """All workers of a machine. Pruning and sweeps do not wait for a GPU, nor hold one."""
    return [
        *(training_place(host, device) for device in devices or [""]),
        WorkerPlace(f"{host}-light", LIGHT_QUEUE, LIGHT_RUNS, ""),
    ]

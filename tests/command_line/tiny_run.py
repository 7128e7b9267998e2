"""A run small enough to store often."""

from __future__ import annotations

import torch


class TinyRun:
    name = "run"

    def __init__(self) -> None:
        self.model = torch.nn.Linear(2, 2)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

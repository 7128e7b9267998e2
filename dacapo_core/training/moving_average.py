"""The exponential moving average of a run's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dacapo_core.training.sharded_tensors import share_of


class Average(AveragedModel):
    """torch's ``AveragedModel``, whose update never waits for the device.

    The first update copies the weights. Buffers are always the model's own.
    """

    def __init__(self, model: nn.Module, decay: float, device: torch.device) -> None:
        super().__init__(model, device=device)
        self._decay = decay

    @torch.no_grad()
    def follow(self, model: nn.Module, taken: Tensor) -> None:
        """Take up the weights of `model` after a step, if it was `taken`, a bool."""
        weight = torch.where(self.n_averaged == 0, 1.0, 1 - self._decay) * taken
        for own, new in zip(self.module.parameters(), model.parameters(), strict=True):
            share_of(own).lerp_(share_of(new), weight.to(own.dtype))
        for buffer, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
            buffer.copy_(theirs)
        self.n_averaged += taken

"""BatchNorm over the batch of all processes, on CPUs too."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class _SumOverProcesses(torch.autograd.Function):
    """As ``torch.distributed._functional_collectives.all_reduce`` from torch 2.13 on."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # each process's loss depends on what this one gave
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class _OnHost:
    """A BatchNorm whose statistics are those of all processes, as torch has it for GPUs only."""

    def forward(self: nn.BatchNorm3d, input: Tensor) -> Tensor:  # type: ignore[misc]
        if not self.training:
            return super().forward(input)  # type: ignore[misc]
        axes = [0, *range(2, input.ndim)]
        shape = [1, -1] + [1] * (input.ndim - 2)
        count = input.numel() / input.shape[1] * dist.get_world_size()
        mean = _SumOverProcesses.apply(input.sum(axes)) / count
        centred = input - mean.view(shape)
        variance = _SumOverProcesses.apply(centred.square().sum(axes)) / count
        if self.track_running_stats:
            _follow(self, mean.detach(), variance.detach() * count / (count - 1))
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if not self.affine:
            return normal
        return normal * self.weight.view(shape) + self.bias.view(shape)


class _BatchNorm2d(_OnHost, nn.BatchNorm2d):
    pass


class _BatchNorm3d(_OnHost, nn.BatchNorm3d):
    pass


_SYNCHRONISED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: _BatchNorm2d,
    nn.BatchNorm3d: _BatchNorm3d,
}


def synchronise(model: nn.Module, device: torch.device) -> None:
    """Let each BatchNorm in `model` see all processes; parameters, buffers and names stay."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    for module in model.modules():
        if type(module) in _SYNCHRONISED:
            module.__class__ = _SYNCHRONISED[type(module)]


@torch.no_grad()
def _follow(norm: nn.BatchNorm3d, mean: Tensor, variance: Tensor) -> None:
    """Take up the statistics of a batch."""
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    share = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    for running, new in ((norm.running_mean, mean), (norm.running_var, variance)):
        assert running is not None
        running.lerp_(new.to(running.dtype), share)

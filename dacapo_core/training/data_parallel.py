"""DistributedDataParallel around a run's model, and the same state in every process."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dacapo_core.store.checkpoint_format.savable_state import map_tensors
from dacapo_core.training.state_transfer import Kind, numbered

if TYPE_CHECKING:
    from dacapo_core.training.run import Run


def wrapped(model: nn.Module, device: torch.device, *, parts: int) -> nn.Module:
    """`model` in DistributedDataParallel: gradients are averaged during the backward pass.

    Parameters that do not require gradients now are left out; wrap again when that changes.

    Args:
        parts: number of parts into which a process splits its share of a batch.
    """
    with warnings.catch_warnings():
        # torch 2.13 has another name for it, which torch 2.8 does not know
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        return DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            # running statistics are rank 0's, which share_buffers gives to the others
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            # torch cannot have both this and no_sync
            static_graph=parts == 1,
        )


def without_sum(model: nn.Module) -> Callable[[], AbstractContextManager[None]]:
    """A context manager's maker: within, gradients of `model` are not sent to other processes."""
    if isinstance(model, DistributedDataParallel):
        return model.no_sync
    return nullcontext


def share_state(run: Run) -> None:
    """Give every process rank 0's state of the run, or its part of it if the run is sharded.

    All processes call it.

    Raises:
        ProcessDiedError: another process ended.
    """
    if run.is_to_be_sharded:
        from dacapo_core.training.sharding import share_out

        share_out(run)
    else:
        _copy_state(run)
    run.is_shared = True


def _copy_state(run: Run) -> None:
    processes = run.processes
    tensors: list[Tensor] = []
    if processes.rank == 0:
        # looks at the data, once for all
        run.intensities  # noqa: B018
        state = {"optimizer": run.optimizer.state_dict(), "extra": run.extra_state()}
        processes.tell((numbered(state, tensors), [Kind.of(tensor) for tensor in tensors]))
    else:
        layout, kinds = processes.hear()
        tensors = [kind.empty(run.device) for kind in kinds]
        state = map_tensors(layout, lambda number: tensors[int(number)])
    with processes.together():
        for tensor in [*run.model.state_dict().values(), *tensors]:
            _broadcast(tensor)
    if processes.rank > 0:
        run.optimizer.load_state_dict(state["optimizer"])
        run.load_extra_state(state["extra"])


def share_buffers(run: Run) -> None:
    """Give every process the buffers (running statistics) of rank 0. All processes call it."""
    with run.processes.together():
        for buffer in run.eval_model.buffers():
            _broadcast(buffer)


def _broadcast(tensor: Tensor) -> None:
    whole = tensor.detach()
    if whole.is_contiguous():
        dist.broadcast(whole, src=0)
        return
    copy = whole.contiguous()
    dist.broadcast(copy, src=0)
    whole.copy_(copy)

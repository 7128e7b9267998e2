"""A state of which each process holds its share of every tensor, by torch's ``fully_shard``.

Rank 0 has the whole state, in host memory, until the first step or validation; the others have
none. From then on each has its share. For a checkpoint the tensors come together again one by one.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from copy import copy
from itertools import count
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from dacapo_core.experiments.architectures.cnnectome_unet import ConvPass, Upsample
from dacapo_core.store.saving.run_state import state_of
from dacapo_core.training.sharded_tensors import share_of, whole
from dacapo_core.training.state_transfer import Kind, numbered

if TYPE_CHECKING:
    from dacapo_core.training.run import Run


def share_out(run: Run) -> None:
    """Give each process its share of the state that rank 0 has whole. All call it, once.

    A tensor is whole on the device of each only on its way.

    Raises:
        ProcessDiedError: one of them is gone.
    """
    processes = run.processes
    sources: list[Tensor] = []
    if processes.rank == 0:
        # looks at the data, once for all
        run.intensities  # noqa: B018
        extra = run.extra_state()
        extra.pop("average", None)
        state = {
            "modules": [OrderedDict(_tensors(module)) for module in _modules(run)],
            "optimizer": run.optimizer.state_dict(),
            "extra": extra,
        }
        layout = numbered(state, sources)
        kinds = [Kind.of(source) for source in sources]
        processes.tell((layout, kinds))
    else:
        layout, kinds = processes.hear()
    with processes.together():
        run.become_shares(_sharder(run.device, processes.size))
        arrive = _Arrivals(run.device, sources, kinds)
        for module, stored in zip(_modules(run), layout["modules"], strict=True):
            for name, tensor in _tensors(module):
                arrive(stored[name], into=tensor)
        optimizer = _optimizer_shares(run.optimizer, layout["optimizer"], arrive)
        extra = _mapped(layout["extra"], arrive)
    run.optimizer.load_state_dict(optimizer)
    if processes.rank > 0:
        if run.average is not None:
            extra["average"] = run.average.state_dict()
        run.load_extra_state(extra)


def gather(run: Run) -> dict[str, Any] | None:
    """The whole state, in host memory of rank 0, valid until the next is gathered; else None.

    All call it; rank 0 tells the others to. These have one whole tensor at a time. The memory is
    kept from one time to the next, and pinned where it is copied to from GPUs.

    Raises:
        RuntimeError: the processes are in the middle of training.
        ProcessDiedError: one of them is gone.
    """
    if run.is_training:
        raise RuntimeError(
            f"run {run.name!r} is sharded, so that its state comes together between two calls of "
            "train_until; it cannot be stored within one"
        )
    processes = run.processes
    if processes.leads:
        processes.tell(("gather", None))
    places = count()

    def take(tensor: Tensor) -> Tensor:
        value = whole(tensor.detach())
        return _kept(run.gathered, next(places), value) if processes.rank == 0 else tensor

    with processes.together(), torch.no_grad():
        state = _mapped(state_of(run), take)
        if run.device.type == "cuda":
            torch.cuda.current_stream(run.device).synchronize()
    return state if processes.rank == 0 else None


def _kept(memory: list[Tensor], place: int, value: Tensor) -> Tensor:
    """A tensor again, in host memory of its own that is kept."""
    nothing = torch.empty(0, device="cpu")
    if place == len(memory):
        memory.append(nothing)
    if memory[place].shape != value.shape or memory[place].dtype != value.dtype:
        # what is there is freed before its successor is made
        memory[place] = nothing
        memory[place] = torch.empty(
            value.shape, dtype=value.dtype, device="cpu", pin_memory=value.device.type == "cuda"
        )
    return memory[place].copy_(value, non_blocking=True)


class _Arrivals:
    """Takes tensors from rank 0, in the order in which it numbered them."""

    def __init__(self, device: torch.device, sources: list[Tensor], kinds: list[Kind]) -> None:
        self._device = device
        self._sources = sources
        self._kinds = kinds

    def kind(self, number: Tensor) -> Kind:
        return self._kinds[int(number)]

    def __call__(self, number: Tensor, into: Tensor | None = None) -> Tensor:
        """The tensor of a number; all call it.

        Args:
            into: takes the values; where it is shared out, this process's share.
        """
        kind = self.kind(number)
        shared = isinstance(into, DTensor)
        if self._sources:
            value = self._sources[int(number)].detach()
            value = value.to(self._device) if shared else value
            value = value.contiguous()
        else:
            where = self._device if shared else torch.device("cpu")
            value = torch.empty(kind.shape, dtype=kind.dtype, device=where)
        dist.broadcast(value, src=0)
        if into is None:
            return value.clone() if self._sources else value
        if isinstance(into, DTensor):
            share = distribute_tensor(value, into.device_mesh, into.placements, src_data_rank=None)
            value = share.to_local()
        with torch.no_grad():
            share_of(into).copy_(value)
        return into


def _sharder(device: torch.device, size: int) -> Callable[[nn.Module], None]:
    mesh = init_device_mesh(device.type, (size,))
    # nothing changes the output of a block in place, view or not
    warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)

    def shard(model: nn.Module) -> None:
        for module in [*_blocks(model), model]:
            # the outermost would else stay whole after a validation
            fully_shard(module, mesh=mesh, reshard_after_forward=True)

    return shard


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """What is made whole at a time, for its own forward or backward pass."""
    for module in model.modules():
        has_parameters = next(module.parameters(), None) is not None
        if isinstance(module, ConvPass | Upsample) and has_parameters:
            yield module


def _modules(run: Run) -> list[nn.Module]:
    return [run.model] if run.average is None else [run.model, run.average]


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _optimizer_shares(
    optimizer: torch.optim.Optimizer, layout: dict[str, Any], arrive: _Arrivals
) -> dict[str, Any]:
    """A state of the optimizer with shares of what it keeps for each element of a parameter."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    state = {}
    for index, kept in layout["state"].items():
        parameter = parameters[index]
        state[index] = {
            key: arrive(
                value,
                torch.zeros_like(parameter)
                if arrive.kind(value).shape == parameter.shape
                else None,
            )
            if isinstance(value, Tensor)
            else value
            for key, value in kept.items()
        }
    return {**layout, "state": state}


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A state with each tensor replaced; what hangs on its mappings is kept."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        changed = copy(value)
        for key in changed:
            changed[key] = _mapped(value[key], change)
        return changed
    if type(value) in (list, tuple):
        return type(value)(_mapped(each, change) for each in value)
    return value

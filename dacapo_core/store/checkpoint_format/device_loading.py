"""Reading a checkpoint straight to a device, through pinned memory, digests taken meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
import xxhash

from dacapo_core.store.checkpoint_format.checkpoint_id import CheckpointId
from dacapo_core.store.checkpoint_format.memory_mapping import map_checkpoint, mapped_parts
from dacapo_core.store.checkpoint_format.savable_state import map_tensors
from dacapo_core.store.checkpoint_format.storage_bytes import bytes_of

# small enough to stay in the processor's cache between reading and digest
_PIECE = 4 << 20
_PIECES = 3


def load_to_device(
    path: str, checkpoint: CheckpointId, device: torch.device, *, verify: bool
) -> dict[str, Any] | None:
    """A checkpoint's state with ``model`` and ``optimizer`` on a device, the rest mapped.

    Scalars of the optimizer's state stay in host memory; the optimizer moves those that it wants.
    Where the device has no room, everything is mapped. None when the checkpoint must be read with
    torch.load, as `map_checkpoint`.

    Raises:
        DamagedCheckpointError: bytes are not those that were written.
    """
    parts = mapped_parts(path, checkpoint)
    if parts is None:
        return None
    state, address, body = parts
    try:
        memory = torch.empty(body.offset, dtype=torch.uint8, device=device)
        found = _read(path, memory)
        if verify and found != body.digest:
            return map_checkpoint(path, checkpoint, verify=True)
        on_device = _on_device(memory, address)

        def own(tensor: torch.Tensor) -> torch.Tensor:
            # an optimizer keeps what it is given, and would keep all the memory with it
            return on_device(tensor).clone() if tensor.dim() else tensor

        model = map_tensors(state["model"], on_device)
        return {**state, "model": model, "optimizer": map_tensors(state["optimizer"], own)}
    except torch.OutOfMemoryError:
        return map_checkpoint(path, checkpoint, verify=verify)


def _on_device(memory: torch.Tensor, address: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Finds a mapped tensor in the device's copy of its file, which is mapped at `address`."""
    storage = memory.untyped_storage()

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        empty = torch.empty(0, dtype=tensor.dtype, device=memory.device)
        if not tensor.numel():
            return empty.new_empty(tensor.shape)
        offset = (tensor.data_ptr() - address) // tensor.itemsize
        return empty.set_(storage, offset, tensor.shape, tensor.stride())

    return moved


def _read(path: str, memory: torch.Tensor) -> bytes:
    """Fill `memory` from the start of a file; the digest of what was read."""
    whole = xxhash.xxh3_128()
    pinned = memory.device.type == "cuda"
    module = torch.get_device_module(memory.device)
    pieces = [
        torch.empty(_PIECE, dtype=torch.uint8, device="cpu", pin_memory=pinned)
        for _ in range(_PIECES)
    ]
    hashed: list[Future[None] | None] = [None] * _PIECES
    copied: list[Any] = [None] * _PIECES
    at = number = 0
    with ThreadPoolExecutor(1) as beside, open(path, "rb", buffering=0) as file:
        while at < memory.numel():
            slot = number % _PIECES
            digesting, moving = hashed[slot], copied[slot]
            if digesting is not None:
                digesting.result()
            if moving is not None:
                moving.synchronize()
            view = bytes_of(pieces[slot].untyped_storage())[: memory.numel() - at]
            size = file.readinto(view)
            if not size:
                # cut short since it was mapped; the digest tells
                break
            hashed[slot] = beside.submit(whole.update, view[:size])
            memory[at : at + size].copy_(pieces[slot][:size], non_blocking=True)
            copied[slot] = module.current_stream(memory.device).record_event()
            at, number = at + size, number + 1
    for moving in copied:
        # pinned memory that is freed may be filled anew
        if moving is not None:
            moving.synchronize()
    return whole.digest()

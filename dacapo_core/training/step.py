"""One iteration: from a batch to changed weights, without the host waiting for the device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dacapo_core.data.batch_source import Batch
from dacapo_core.training.errors import OutOfMemoryError
from dacapo_core.training.sharded_tensors import whole

logger = logging.getLogger(__name__)

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


class StepResult(NamedTuple):
    """What a step came to, on the device.

    Attributes:
        loss: mean over the batch.
        norm: of the gradient, before clipping.
        taken: whether both are finite: only then has any weight changed.
    """

    loss: Tensor
    norm: Tensor
    taken: Tensor


@dataclass
class TrainingStep:
    """Forward, backward and update, with mixed precision, accumulation, clipping and a guard.

    A step whose loss or gradient is not finite, or whose batch is faulty (its loss is then NaN),
    changes no weight and no running statistics. An optimizer of torch's that is fused is told so
    on the device; the host looks for any other.

    Attributes:
        make_room: frees memory on the device, where a step lacks it, and says whether it could;
            the step is then begun anew. None where several processes take the step, since one of
            them cannot begin it anew: see `try_out`.
        uncompiled: what `model` was compiled from; it is trained where compiling fails.
        mean: the mean of a value over the processes; None where there is one.
        unsummed: a context within which `model` does not average gradients over the processes.
    """

    model: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    dtype: torch.dtype
    gradient_clip: float | None = None
    memory_format: torch.memory_format = torch.contiguous_format
    make_room: Callable[[], bool] | None = None
    uncompiled: nn.Module = None  # type: ignore[assignment]
    mean: Callable[[Tensor], Tensor] | None = None
    unsummed: Callable[[], AbstractContextManager[None]] = nullcontext
    _buffers: list[Tensor] = field(init=False)
    _compiled: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._buffers = list(self.model.buffers())
        if self.uncompiled is None:
            self.uncompiled = self.model

    def __call__(self, parts: Sequence[Batch]) -> StepResult:
        """Train on a batch, given in equal parts.

        Raises:
            OutOfMemoryError: the device has too little memory.
        """
        trained = [
            parameter for group in self.optimizer.param_groups for parameter in group["params"]
        ]
        before = [buffer.clone() for buffer in self._buffers]
        try:
            loss = self._begun(parts, before)
            if self.mean is not None:
                loss = self.mean(loss)
            self.scaler.unscale_(self.optimizer)
            norm = whole(nn.utils.clip_grad_norm_(trained, self.gradient_clip or inf))
            taken = loss.isfinite() & norm.isfinite()
            self._update(taken)
            for buffer, old in zip(self._buffers, before, strict=True):
                buffer.copy_(torch.where(taken, buffer, old))
            self.scaler.update()
        except (RuntimeError, MemoryError) as error:
            if _lacks_memory(error):
                raise self._out_of_memory(parts[0], error) from error
            raise
        finally:
            self.optimizer.zero_grad(set_to_none=True)
        return StepResult(loss, norm, taken)

    def _begun(self, parts: Sequence[Batch], before: Sequence[Tensor]) -> Tensor:
        """The loss, with gradients; begun anew uncompiled, or with more room, where that helps."""
        while True:
            try:
                return self._backward(parts)
            except Exception as error:
                if _lacks_memory(error):
                    if self.make_room is None or not self.make_room():
                        raise
                elif self.model is not self.uncompiled and not self._compiled:
                    logger.warning(
                        "the network cannot be compiled (%s: %s); training goes on without "
                        "trainer_config.compile",
                        type(error).__name__,
                        " ".join(str(error).split())[:200],
                    )
                    self.model = self.uncompiled
                else:
                    raise
            self._take_back(before)

    def try_out(self, part: Batch) -> None:
        """Make room for a forward and backward pass, and change nothing else.

        Whatever else is wrong, and memory that is still lacking, is left to the step to meet.
        """
        before = [buffer.clone() for buffer in self._buffers]
        lacks = True
        devices = [self.device] if self.device.type == "cuda" else []
        while lacks:
            with torch.random.fork_rng(devices):
                try:
                    self._backward_of_part(part, 1)
                    lacks = False
                except Exception as error:
                    lacks = _lacks_memory(error)
            self._take_back(before)
            lacks = lacks and self.make_room is not None and self.make_room()

    def _take_back(self, before: Sequence[Tensor]) -> None:
        """Forget gradients, and what a forward pass did to running statistics."""
        self.optimizer.zero_grad(set_to_none=True)
        for buffer, old in zip(self._buffers, before, strict=True):
            buffer.copy_(old)

    def _update(self, taken: Tensor) -> None:
        if not getattr(self.optimizer, "_step_supports_amp_scaling", False):
            if taken:
                self.optimizer.step()
            return
        # as GradScaler.step tells a fused optimizer
        self.optimizer.grad_scale = None  # type: ignore[attr-defined]
        self.optimizer.found_inf = (~taken).float()  # type: ignore[attr-defined]
        try:
            self.optimizer.step()
        finally:
            del self.optimizer.grad_scale, self.optimizer.found_inf  # type: ignore[attr-defined]

    def _backward(self, parts: Sequence[Batch]) -> Tensor:
        total = torch.zeros((), device=self.device)
        for number, part in enumerate(parts, start=1):
            # gradients that still grow are not worth sending
            with nullcontext() if number == len(parts) else self.unsummed():
                total += self._backward_of_part(part, len(parts))
                self._compiled = True
        return total

    def _backward_of_part(self, part: Batch, parts: int) -> Tensor:
        raw = part.raw.contiguous(memory_format=self.memory_format)
        with torch.autocast(
            self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32
        ):
            prediction = self.model(raw)
        loss = self.loss(prediction.float(), part.target.float(), part.weight.float())
        loss = loss / parts
        self.scaler.scale(loss).backward()
        return loss.detach() if part.fault is None else _unless(part.fault, loss.detach())

    def _out_of_memory(self, part: Batch, error: BaseException) -> OutOfMemoryError:
        shape = "×".join(str(size) for size in part.raw.shape)
        return OutOfMemoryError(
            f"{self.device} has too little memory for a part of the batch of {shape} voxels. Turn "
            "up trainer_config.gradient_accumulation (same result, smaller parts), or turn down "
            "batch_size, architecture_config.input_shape or architecture_config.num_fmaps"
            + ("" if self.dtype != torch.float32 else ", or set trainer_config.mixed_precision")
            + f". ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        )


def _unless(fault: Tensor, loss: Tensor) -> Tensor:
    return torch.where(fault, torch.nan, loss)


def _lacks_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error)
    return "can't allocate memory" in said or "not enough memory" in said

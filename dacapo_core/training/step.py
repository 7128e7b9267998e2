"""One iteration: from a batch to changed weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor, nn

from dacapo_core.data.batches import Batch
from dacapo_core.experiments.trainers.errors import OutOfMemoryError

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass
class TrainingStep:
    """Forward, backward and update, with mixed precision, accumulation, clipping and a guard.

    A step whose loss or gradient is not finite changes no weight. `average` replaces the
    gradients by their mean over several processes and returns the mean loss.
    """

    model: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    dtype: torch.dtype
    gradient_clip: float | None = None
    memory_format: torch.memory_format = torch.contiguous_format
    average: Callable[[Tensor, Sequence[Tensor]], Tensor] | None = None

    def __call__(self, parts: Sequence[Batch]) -> tuple[float, float]:
        """Train on a batch, given in equal parts.

        Returns:
            The mean loss and the norm of the gradient before clipping; the weights changed only
            if both are finite.

        Raises:
            OutOfMemoryError: the device has too little memory.
        """
        try:
            trained = [
                parameter for group in self.optimizer.param_groups for parameter in group["params"]
            ]
            total = self._backward(parts)
            if self.average is not None:
                total = self.average(total, trained)
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(trained, self.gradient_clip or inf)
            # one wait for the device, not two
            loss, length = torch.stack([total, norm]).tolist()
            if isfinite(loss) and isfinite(length):
                self.scaler.step(self.optimizer)
            self.scaler.update()
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self._out_of_memory(parts[0], error) from error
        except RuntimeError as error:
            if "can't allocate memory" in str(error) or "not enough memory" in str(error):
                raise self._out_of_memory(parts[0], error) from error
            raise
        finally:
            self.optimizer.zero_grad(set_to_none=True)
        return loss, length

    def _backward(self, parts: Sequence[Batch]) -> Tensor:
        total = torch.zeros((), device=self.device)
        for part in parts:
            raw = part.raw.to(self.device, non_blocking=True, memory_format=self.memory_format)
            target = part.target.to(self.device, non_blocking=True)
            weight = part.weight.to(self.device, non_blocking=True)
            with torch.autocast(
                self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32
            ):
                prediction = self.model(raw)
            loss = self.loss(prediction.float(), target, weight) / len(parts)
            self.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    def _out_of_memory(self, part: Batch, error: BaseException) -> OutOfMemoryError:
        shape = "×".join(str(size) for size in part.raw.shape)
        return OutOfMemoryError(
            f"{self.device} has too little memory for a part of the batch of {shape} voxels. Turn "
            "up trainer_config.gradient_accumulation (same result, smaller parts), or turn down "
            "batch_size, architecture_config.input_shape or architecture_config.num_fmaps"
            + ("" if self.dtype != torch.float32 else ", or set trainer_config.mixed_precision")
            + f". ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        )

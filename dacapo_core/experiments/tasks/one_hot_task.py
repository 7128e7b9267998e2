"""The one-hot task: a probability per class and voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dacapo_core.experiments.architectures import ArchitectureConfig
from dacapo_core.experiments.model import Model
from dacapo_core.experiments.tasks.head import create_head
from dacapo_core.experiments.tasks.one_hot_task_config import OneHotTaskConfig
from dacapo_core.experiments.tasks.task import Task


class OneHotTask(Task):
    """A sigmoid per class, learnt with Dice and cross-entropy."""

    config: OneHotTaskConfig

    def create_model(self, architecture_config: ArchitectureConfig) -> Model:
        head = create_head(architecture_config, len(self.channels), self.config.kernel_size)
        return Model(architecture_config.build(), head, self.channels, nn.Sigmoid())

    def create_target(
        self, labels: NDArray[Any], mask: NDArray[Any], voxel_size: tuple[float, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        target = (labels != 0).astype(np.float32)
        return target, np.broadcast_to(mask != 0, target.shape).astype(np.float32)

    def loss(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        share = self.config.dice_weight
        entropy = cross_entropy_loss(prediction, target, weight) if share < 1 else 0.0
        dice = dice_loss(torch.sigmoid(prediction), target, weight) if share > 0 else 0.0
        return (1 - share) * entropy + share * dice  # type: ignore[return-value]


def cross_entropy_loss(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of logits, weighted mean over each sample."""
    loss = functional.binary_cross_entropy_with_logits(prediction, target, reduction="none")
    axes = tuple(range(1, prediction.ndim))
    # a sample without any labelled voxel has loss 0, not NaN
    return ((loss * weight).sum(axes) / weight.sum(axes).clamp(min=1)).mean()


def dice_loss(probability: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of each channel and sample (Milletari et al. 2016).

    A channel that the sample does not hold counts as 0: cross-entropy already teaches absence.
    """
    axes = tuple(range(2, probability.ndim))
    overlap = (probability * target * weight).sum(axes)
    total = ((probability.square() + target.square()) * weight).sum(axes)
    present = ((target * weight).sum(axes) > 0).to(probability.dtype)
    loss = (1 - 2 * overlap / total.clamp(min=1e-6)) * present
    return (loss.sum(1) / present.sum(1).clamp(min=1)).mean()

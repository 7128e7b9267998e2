"""The distance task: a signed distance to the boundary per channel and voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dacapo_core.experiments.architectures import ArchitectureConfig
from dacapo_core.experiments.model import Model
from dacapo_core.experiments.tasks.distance_task_config import DistanceTaskConfig
from dacapo_core.experiments.tasks.head import create_head
from dacapo_core.experiments.tasks.signed_distance import (
    balanced_weight,
    border_distance,
    signed_distance,
)
from dacapo_core.experiments.tasks.task import Task

# as DaCapo's DistancePredictor: a tanh above this is far enough not to matter how far
SATURATED = 0.8
TOLERANCE = 0.05


class DistanceTask(Task):
    """tanh of the signed distance, learnt with a balanced squared error.

    The head is linear, as those of COSEM and DaCapo are.
    """

    config: DistanceTaskConfig
    measures_distances = True

    def create_model(self, architecture_config: ArchitectureConfig) -> Model:
        head = create_head(architecture_config, len(self.channels))
        return Model(architecture_config.build(), head, self.channels)

    def create_target(
        self, labels: NDArray[Any], mask: NDArray[Any], voxel_size: tuple[float, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scale = self.config.scale_factor
        known = np.broadcast_to(mask != 0, labels.shape)
        target = np.empty(labels.shape, np.float32)
        weight = np.empty(labels.shape, np.float32)
        for channel, inside in enumerate(labels != 0):
            target[channel] = np.tanh(signed_distance(inside, voxel_size) / scale)
            counted = known[channel]
            if self.config.mask_distances:
                limit = np.tanh(border_distance(counted, voxel_size) / scale)
                nearest = np.clip(np.abs(target[channel]) + TOLERANCE, 0, SATURATED)
                counted = counted & (nearest < limit)
            weight[channel] = balanced_weight(
                inside, counted, self.config.clipmin, self.config.clipmax
            )
        return target, weight

    def loss(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        axes = tuple(range(1, prediction.ndim))
        squared = (prediction - target).square() * weight
        return (squared.sum(axes) / weight.sum(axes).clamp(min=1)).mean()

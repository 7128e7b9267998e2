"""The interface of tasks to training and validation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from dacapo_core.experiments.architectures import ArchitectureConfig
    from dacapo_core.experiments.model import Model
    from dacapo_core.experiments.tasks.distance_task_config import DistanceTaskConfig
    from dacapo_core.experiments.tasks.one_hot_task_config import OneHotTaskConfig


class Task(ABC):
    """Head, target, loss and post-processing (DaCapo's ``dacapo.experiments.tasks.task.Task``).

    Arrays of one sample are ``(channels, *shape)``, those of a batch ``(batch, channels, *shape)``.

    Attributes:
        measures_distances: targets need a distance transform, so they are made on the host.
    """

    measures_distances = False

    def __init__(self, config: OneHotTaskConfig | DistanceTaskConfig) -> None:
        self.config = config
        self.channels = list(config.channels)

    @abstractmethod
    def create_model(self, architecture_config: ArchitectureConfig) -> Model:
        """A freshly initialised network with this task's head."""

    @abstractmethod
    def create_target(
        self, labels: NDArray[Any], mask: NDArray[Any], voxel_size: tuple[float, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Target and weight of one sample, each ``(channels, *shape)``.

        Args:
            labels: nonzero where a voxel belongs to the channel.
            mask: zero where `labels` says nothing.
            voxel_size: world units, one value per axis of `shape`.
        """

    def device_target(self, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Target and weight of a batch, on the device of its labels; float32 or bool.

        Only for a task that does not measure distances.

        Args:
            labels, mask: bool, as `create_target` takes them.
        """
        return labels, mask

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Mean over the samples of each sample's own loss, from the training-mode `prediction`.

        Because every sample is normalised by itself, a batch split into equal parts has the mean
        of the parts' losses.
        """

    @property
    def parameters(self) -> list[dict[str, Any]]:
        """Parameters of post-processing that validation tries, one dict each."""
        return [{"threshold": threshold} for threshold in self.config.thresholds]

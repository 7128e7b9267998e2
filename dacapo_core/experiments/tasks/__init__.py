"""Tasks: what is predicted, from which target, with which loss, and how it is made binary."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dacapo_core.experiments.tasks.distance_task_config import DistanceTaskConfig
from dacapo_core.experiments.tasks.one_hot_task_config import OneHotTaskConfig

TaskConfig = Annotated[OneHotTaskConfig | DistanceTaskConfig, Field(discriminator="type")]

__all__ = ["DistanceTaskConfig", "OneHotTaskConfig", "TaskConfig"]

"""Trainers: how weights follow from batches."""

from __future__ import annotations

from dacapo_core.experiments.trainers.trainer_config import TrainerConfig

__all__ = ["TrainerConfig"]

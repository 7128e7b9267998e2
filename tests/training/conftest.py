"""A run small enough to be trained many times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore

SmallConfig = Callable[..., RunConfig]


@pytest.fixture
def small_config() -> SmallConfig:
    """Twelve iterations of about 30 ms on generated volumes, validated every four."""

    def configure(*, trainer: dict[str, Any] | None = None, **values: Any) -> RunConfig:
        return RunConfig.model_validate(
            {
                "name": "small",
                "num_iterations": 12,
                "validation_interval": 4,
                "batch_size": 2,
                "architecture_config": {
                    "input_shape": (12, 12, 12),
                    "padding": "same",
                    "normalisation": "instance",
                    "num_fmaps": 4,
                    "fmaps_out": 4,
                    "downsample_factors": [(2, 2, 2)],
                },
                "task_config": {"type": "one_hot", "channels": ["mito", "pm"]},
                "trainer_config": {"mixed_precision": "off", **(trainer or {})},
                "datasplit_config": {"type": "synthetic", "num_train": 2, "shape": (24, 24, 24)},
                **values,
            }
        )

    return configure


@pytest.fixture
def store(tmp_path: Path) -> LocalWeightsStore:
    return LocalWeightsStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Results are compared bit for bit, and may depend on the number of threads."""
    torch.set_num_threads(1)

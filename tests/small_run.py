"""A run of seconds on small generated volumes."""

from __future__ import annotations

from typing import Any


def small_run(name: str, num_iterations: int, validation_interval: int) -> dict[str, Any]:
    """Its configuration: a net of four feature maps, two channels, one volume to train on."""
    return {
        "name": name,
        "num_iterations": num_iterations,
        "validation_interval": validation_interval,
        "num_workers": 0,
        "architecture_config": {
            "type": "cnnectome_unet",
            "input_shape": [16, 16, 16],
            "num_fmaps": 4,
            "fmaps_out": 4,
            "downsample_factors": [[2, 2, 2]],
            "padding": "same",
            "normalisation": "instance",
        },
        "task_config": {"type": "one_hot", "channels": ["mito", "pm"], "thresholds": [0.5]},
        "trainer_config": {"warmup_iterations": 1},
        "datasplit_config": {"type": "synthetic", "shape": [24, 24, 24], "num_train": 1},
    }

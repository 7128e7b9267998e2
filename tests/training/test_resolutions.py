"""The distance task learns on anisotropic voxels, and at a finer resolution than it sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.train import train_until
from dacapo_core.training.checks import check_run
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import predict, validate_iteration

ANISOTROPIC: dict[str, Any] = {
    "architecture_config": {"input_shape": (8, 48, 48), "downsample_factors": [(1, 2, 2)]},
    "datasplit_config": {"shape": (14, 64, 64), "voxel_size": (45, 9.2, 9.2)},
}
FINER: dict[str, Any] = {
    "architecture_config": {
        "input_shape": (24, 24, 24),
        "downsample_factors": [(2, 2, 2)],
        "upsample_factors": [(2, 2, 2)],
    },
    "datasplit_config": {"shape": (40, 40, 40), "label_scale": (2, 2, 2)},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "voxel_size"),
    [(ANISOTROPIC, (45, 9.2, 9.2)), (FINER, (4, 4, 4))],
    ids=["45 × 9.2 × 9.2 nm", "8 nm in, 4 nm out"],
)
def test_mitochondria_are_told_from_membranes_as_no_threshold_can(
    values: dict[str, Any], voxel_size: tuple[float, ...]
) -> None:
    run = Run(
        RunConfig.model_validate(
            {
                "num_iterations": 30,
                "num_workers": 0,
                "task_config": {"type": "distance", "channels": ["mito", "pm"]},
                "trainer_config": {"warmup_iterations": 4},
                "architecture_config": {
                    "type": "cnnectome_unet",
                    "num_fmaps": 10,
                    "fmaps_out": 10,
                    "padding": "same",
                    "normalisation": "instance",
                    **values["architecture_config"],
                },
                "datasplit_config": {
                    "type": "synthetic",
                    "num_train": 4,
                    **values["datasplit_config"],
                },
            }
        ),
        "cpu",
    )
    check_run(run)
    (held_out,) = run.validation_datasets
    assert held_out.label_voxel_size == run.sampler.voxel_size == pytest.approx(voxel_size)
    truth, _ = held_out.read_labels(held_out.begin, held_out.end, ["mito", "pm"])
    raw = held_out.read_raw((0, 0, 0), held_out.raw.shape)
    dark = np.kron(raw < threshold_otsu(raw), np.ones(held_out.scale, bool))
    threshold = 2 * (dark & truth[0]).sum() / (dark.sum() + truth[0].sum())

    train_until(run, 30)
    prediction = predict(run, held_out)
    assert prediction.shape == truth.shape
    best = validate_iteration(run, held_out, prediction).best_entry("mito__dice", True)
    assert best is not None
    assert best[0] > threshold + 0.1, (best, threshold)

"""Validation on a CUDA device. Imports neither prefect nor zarr."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.training.run import Run
from dacapo_core.validation.prefetch import prefetched
from dacapo_core.validation.scoring import predict, validate_iteration

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def test_blocks_arrive_whole_and_in_order() -> None:
    blocks = prefetched(lambda value: np.full((64, 256, 256), value), range(40), torch.device(0))
    for value, block in enumerate(blocks):
        # keep the device busy, so that a block that came too early would be seen
        for _ in range(20):
            block = block + 0.0
        assert bool((block == value).all())


def test_scores_are_those_of_the_cpu() -> None:
    config = RunConfig.model_validate({"trainer_config": {"mixed_precision": "off"}})
    run = Run(config, "cuda")
    (dataset,) = run.validation_datasets
    prediction = predict(run, dataset)
    assert prediction.device.type == "cuda"
    on_gpu = validate_iteration(run, dataset, prediction)
    on_cpu = validate_iteration(run, dataset, prediction.cpu())
    for ours, theirs in zip(on_gpu.entries, on_cpu.entries, strict=True):
        for name, score in theirs.scores.items():
            assert ours.scores[name] == pytest.approx(score, rel=1e-9, nan_ok=True), name

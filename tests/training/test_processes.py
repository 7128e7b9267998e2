"""Several processes train one run as one process would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.train import train_until
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import predict
from tests.training.launcher import TWO_HERE, finish, launch

PROGRAM = Path(__file__).with_name("group_process.py")
ITERATIONS = 6


def configuration(small_config: Any, architecture: dict[str, Any], **values: Any) -> RunConfig:
    config = small_config(batch_size=4, num_workers=0, **values).model_dump()
    # before InstanceNorm a bias has no gradient but rounding errors, which AdamW makes large
    config["architecture_config"].update({"normalisation": None, **architecture})
    return RunConfig.model_validate(config)


def ways(small_config: Any) -> dict[str, RunConfig]:
    """Runs that differ in how their batches and their gradients are made."""
    start = {"type": "run", "run": "other", "criterion": "latest", "freeze_iterations": 3}
    volumes = {"type": "synthetic", "num_train": 2, "shape": (24, 24, 24)}
    return {
        "accumulated": configuration(
            small_config, {}, trainer={"gradient_accumulation": 2, "ema_decay": 0.9}
        ),
        "distances": configuration(
            small_config, {}, task_config={"type": "distance", "channels": ["mito", "pm"]}
        ),
        "plain": configuration(
            small_config,
            # several tiles to validate
            {"padding": "valid", "input_shape": (24, 24, 24)},
            trainer={"augmentation": {"elastic_displacement": 0}},
            datasplit_config={**volumes, "label_scale": (1, 1, 1)},
        ),
        "frozen": configuration(small_config, {}, start_config=start),
        "batch_norm": configuration(
            small_config, {"batch_norm": True}, trainer={"sync_batch_norm": True}
        ),
    }


@pytest.mark.slow
def test_two_processes_train_what_one_would(tmp_path: Path, small_config: Any) -> None:
    runs = ways(small_config)
    job = tmp_path / "job.json"
    job.write_text(
        json.dumps([(name, c.model_dump(mode="json"), ITERATIONS) for name, c in runs.items()])
    )
    finish(launch(PROGRAM, job, *TWO_HERE))
    for name, config in runs.items():
        alone, shared = Run(config, "cpu"), torch.load(tmp_path / f"{name}.pt")
        before = {key: value.clone() for key, value in alone.model.state_dict().items()}
        train_until(alone, ITERATIONS)
        assert shared["losses"] == pytest.approx(alone.training_stats.losses, rel=1e-4), name
        assert alone.model.state_dict().keys() == shared["model"].keys()
        assert not all(torch.equal(before[key], each) for key, each in shared["model"].items())
        for key, tensor in alone.model.state_dict().items():
            # nor has a bias before BatchNorm, whose mean follows it; predictions know neither
            if name != "batch_norm" or key.endswith("running_var"):
                torch.testing.assert_close(
                    shared["model"][key], tensor, rtol=1e-3, atol=1e-4, msg=f"{name}: {key}"
                )
        other = Run(config, "cpu")
        other.model.load_state_dict(shared["model"])
        # what is judged: the average, where there is one
        if name != "accumulated":
            assert torch.equal(predict(other, other.validation_datasets[0]), shared["prediction"])
        raw = torch.linspace(0, 1, 24**3).view(1, 1, 24, 24, 24)
        with torch.no_grad():
            expected, found = (each.model.train()(raw) for each in (alone, other))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)

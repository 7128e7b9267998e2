"""Training on a CUDA device. Imports neither prefect nor zarr, so it runs where only torch is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dacapo_core.data.loader import load_batches
from dacapo_core.data.volume_placement import Place
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until
from dacapo_core.training.resume import resume
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import validate_iteration

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("precision", ["off", "bf16", "fp16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_each_precision_learns_on_the_gpu(
    small_config: Any, precision: str, channels_last: bool
) -> None:
    trainer = {"mixed_precision": precision, "channels_last": channels_last, "ema_decay": 0.9}
    run = Run(small_config(num_iterations=60, trainer=trainer))
    assert run.device.type == "cuda"
    losses = train_until(run, 60).losses
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])


def test_the_gpu_computes_what_the_cpu_computes(small_config: Any) -> None:
    losses = [
        train_until(Run(small_config(num_workers=2), device), 3).losses
        for device in ("cpu", "cuda")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)


@pytest.mark.parametrize("workers", [0, 3])
def test_where_volumes_are_kept_changes_no_batch_on_the_gpu(
    small_config: Any, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = {"augmentation": {"elastic_displacement": 20, "elastic_spacing": 60}}
    made = []
    for on_device, place in ((0.4, Place.DEVICE), (0.0, Place.HOST)):
        monkeypatch.setattr("dacapo_core.data.volume_placement.DEVICE_SHARE", on_device)
        run = Run(small_config(num_iterations=100, trainer=trainer))
        source = run.batch_source
        # what is generated lies in host memory without being kept there
        assert run.placement.places == [place, place]
        with load_batches(source, run.device, 0, 6, workers) as batches:
            for loaded in batches:
                torch.cuda.synchronize()
                made.append([each.clone() for each in loaded.parts[0].tensors])
                loaded.release()
    for one, other in zip(made[:6], made[6:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_no_step_waits_for_the_gpu(small_config: Any) -> None:
    trainer = {"ema_decay": 0.9, "gradient_clip": 1.0, "mixed_precision": "bf16"}
    run = Run(small_config(num_iterations=100, trainer=trainer))
    train_until(run, 5)
    torch.cuda.set_sync_debug_mode("error")
    try:
        train_until(run, 15)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert run.iteration == 15


@pytest.mark.parametrize("precision", ["off", "bf16", "fp16"])
def test_a_resumed_run_equals_an_undisturbed_one_on_the_gpu(
    small_config: Any, store: LocalWeightsStore, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what torch documents for reproducible CUDA kernels; those without one only warn
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        # repeated voxels have no deterministic gradient on CUDA, transposed convolutions have
        values = small_config(trainer={"mixed_precision": precision, "ema_decay": 0.9})
        config = RunConfig.model_validate(
            {
                **values.model_dump(),
                "architecture_config": {
                    **values.architecture_config.model_dump(),
                    "constant_upsample": False,
                },
            }
        )
        undisturbed = Run(config)
        train_until(undisturbed, 12)
        interrupted = Run(config)
        train_until(interrupted, 5)
        store.store_weights(interrupted, 5)
        resumed = Run(config)
        assert resume(resumed, store).iteration == 5
        train_until(resumed, 12)
    finally:
        torch.use_deterministic_algorithms(False)
    for name, tensor in undisturbed.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name


def test_the_default_run_learns_the_easy_channel_on_the_gpu() -> None:
    run = Run(RunConfig())
    train_until(run, run.config.num_iterations)
    (held_out,) = run.validation_datasets
    entries = validate_iteration(run, held_out).entries
    assert max(entry.scores["mito__dice"] or 0 for entry in entries) >= 0.9

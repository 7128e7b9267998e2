"""Runs of the real DaCapo, written down by its own objects, as ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dacapo_core.experiments.from_dacapo import read_run, translate_run
from dacapo_core.experiments.from_dacapo.translated_part import TO_FILL_IN
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until
from dacapo_core.training.resume import resume
from dacapo_core.training.run import Run
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def base(dacapo_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs that DaCapo 0.3.5 wrote: configurations, data, a checkpoint."""
    folder = tmp_path_factory.mktemp("dacapo")
    script = REPOSITORY / "tests/peers/write_dacapo_configs.py"
    subprocess.run([dacapo_python, script, folder], check=True, capture_output=True)
    return folder


def translated(base: Path, name: str, as_name: str | None = None) -> tuple[str, RunConfig]:
    text = translate_run(read_run(str(base / "configs"), name), as_name).text()
    return text, RunConfig.model_validate(yaml.safe_load(text))


@pytest.mark.dacapo
def test_every_class_with_a_counterpart(base: Path) -> None:
    text, run = translated(base, "distances")
    assert (run.name, run.repetition, run.num_iterations, run.validation_interval) == (
        "distances",
        1,
        4,
        2,
    )
    assert (run.batch_size, run.learning_rate, run.num_workers) == (2, 1e-4, 3)
    task, unet = run.task_config, run.architecture_config
    assert (task.type, task.channels, task.scale_factor) == ("distance", ["mito", "er"], 50)
    assert (task.clip_distance, task.tol_distance) == (160, 16)
    assert (unet.input_shape, unet.eval_shape_increase) == ((20, 20, 20), (8, 8, 8))
    assert (unet.num_fmaps, unet.fmaps_out, unet.padding) == (2, 2, "valid")
    assert unet.kernel_size_up == [[(3, 3, 3), (3, 3, 3)]]
    binarized, cropped = run.datasplit_config.build().train
    # 0…1 of 10…200 as it is: that is what DaCapo's network saw
    assert (binarized.weight, binarized.intensity_range) == (3, (-180, 200))
    assert (binarized.channels, binarized.mask) == (["mito", "er"], None)
    assert (cropped.begin, cropped.end) == ((0, 10, 20), (30, 40, 40))
    assert cropped.mask is not None
    (one_each,) = run.datasplit_config.build().validate
    assert one_each.channels == ["mito"]
    # raw values as they are stored, whatever their type
    assert one_each.given_range == (-1, 1)
    for note in (
        "DaCapo's trainer min_masked: 0.15",
        "DaCapo's dataset sample_points: [[1, 2, 3]]",
        "DaCapo took er as background",
        "optimizer is RAdam",
    ):
        assert f"{note}" in text
    text, run = translated(base, "classes")
    assert (run.task_config.type, run.task_config.kernel_size) == ("one_hot", 3)
    assert run.learning_rate == 5e-5
    varied = run.trainer_config.augmentation
    assert (varied.mirror, varied.transpose, varied.elastic_displacement) == (True, True, 80)
    assert (varied.contrast, varied.brightness) == (0.3, 0.2)
    assert "GammaAugmentConfig gamma_range: [0.5, 2.0]" in text
    assert "trainer snapshot_interval: 500" in text
    assert run.start_config is not None
    assert (run.start_config.run, run.start_config.criterion) == ("distances", "2")
    split = run.datasplit_config.build()
    assert [each.name for each in split.train + split.validate] == [
        "train_a",
        "train_b",
        "test_a",
        "test_b",
    ]
    # DaCapo divides these by 255, and the trainer makes -1…1 of that
    assert {each.given_range for each in split.train + split.validate} == {(0, 255)}
    text, run = translated(base, "pretrained")
    assert run.task_config.type == "distance"
    assert "weights: " in text
    assert run.start_config is not None
    assert (run.start_config.type, run.start_config.run) == ("cosem", "setup04")


@pytest.mark.dacapo
def test_what_has_no_counterpart_is_refused_until_it_is_filled_in(base: Path) -> None:
    for name, path, was in (
        ("affinities", "task_config", "AffinitiesTaskConfig has no counterpart"),
        ("unions", "datasplit_config.train_configs.0.gt_config", "LogicalOrArrayConfig"),
    ):
        run = translate_run(read_run(str(base / "configs"), name))
        assert run.missing() == [path]
        assert was in run.text()
        with pytest.raises(ValueError, match=TO_FILL_IN):
            RunConfig.model_validate(yaml.safe_load(run.text()))


@pytest.mark.dacapo
def test_the_run_continues_in_the_store_that_dacapo_left(base: Path) -> None:
    _, config = translated(base, "distances")
    store = LocalWeightsStore(base)
    written = store.retrieve_model("distances", 2)
    run = Run(config, "cpu")
    assert resume(run, store).iteration == 2
    for key, value in run.model.state_dict().items():
        assert torch.equal(value, written[key]), key
    train_until(run, 3)
    # or a new one starts from it
    _, config = translated(base, "distances", "again")
    assert config.name == "again"
    start = config.start_config
    assert start is not None
    assert (start.run, start.criterion) == ("distances", "latest")


def test_the_main_branch_keeps_some_fields_with_the_run(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "name": "main",
        "num_iterations": 10,
        "repetition": None,
        "batch_size": 4,
        "num_workers": 2,
        "learning_rate": 0.003,
        "snapshot_interval": 7,
        "task_config": {"__type__": "OneHotTaskConfig", "name": "t", "classes": ["a", "b"]},
        "architecture_config": {
            "__type__": "CNNectomeUNetConfig",
            "name": "u",
            "_input_shape": [24, 24, 24],
            "fmaps_out": 4,
            "num_fmaps": 4,
            "downsample_factors": [[2, 2, 2]],
            "upsample_factors": None,
        },
        "trainer_config": {
            "__type__": "GunpowderTrainerConfig",
            "name": "g",
            "sample_strategy": "integral_mask",
            "augments": [
                {"__type__": "NoiseAugmentConfig", "kwargs": {"var": 0.0004, "clip": True}},
                {"__type__": "IntensityScaleShiftAugmentConfig", "scale": 2, "shift": -1},
            ],
        },
        "datasplit_config": {
            "__type__": "TrainValidateDataSplitConfig",
            "name": "d",
            "train_configs": [
                {
                    "__type__": "RawGTDatasetConfig",
                    "name": "v",
                    "weight": 1,
                    "raw_config": {
                        "__type__": "IntensitiesArrayConfig",
                        "name": "i",
                        "min": 0,
                        "max": 255,
                        "source_array_config": {
                            "__type__": "ZarrArrayConfig",
                            "name": "r",
                            "file_name": "/data/v.zarr",
                            "dataset": "raw",
                            "_axes": ["z", "y", "x"],
                            "mode": "r",
                            "ome_metadata": True,
                        },
                    },
                    "gt_config": {
                        "__type__": "ZarrArrayConfig",
                        "name": "g",
                        "file_name": "/data/v.zarr",
                        "dataset": "labels",
                    },
                }
            ],
            "validate_configs": [],
        },
    }
    exported = tmp_path / "runs.json"
    exported.write_text(json.dumps({"_id": {"$oid": "1"}, **values}) + "\n{}\n")
    text = translate_run(read_run(str(exported), "main")).text()
    run = RunConfig.model_validate(yaml.safe_load(text))
    assert (run.batch_size, run.num_workers, run.learning_rate) == (4, 2, 0.003)
    assert run.architecture_config.input_shape == (24, 24, 24)
    assert run.trainer_config.augmentation.noise == 0.04
    (volume,) = run.datasplit_config.train_configs
    assert volume.intensity_range == (0, 255)
    assert volume.gt_config.channels == ["a", "b"]
    for note in (
        "run snapshot_interval: 7",
        "sample_strategy: integral_mask",
        "axes: ",
        "{'clip': True}",
    ):
        assert note in text
    with pytest.raises(FileNotFoundError, match=r"no run 'other' in .*; there are main"):
        read_run(str(exported), "other")


def test_a_configuration_can_run_no_code(tmp_path: Path) -> None:
    runs = tmp_path / "configs/runs"
    runs.mkdir(parents=True)
    marker = tmp_path / "ran"
    (runs / "evil.yaml").write_text(
        f"task_config: !!python/object/apply:os.system ['touch {marker}']\n"
    )
    read_run(str(tmp_path / "configs"), "evil")
    assert not marker.exists()
    (runs / "odd.yaml").write_text("a: [\n")
    with pytest.raises(ValueError, match=r"odd.yaml cannot be read"):
        read_run(str(tmp_path / "configs"), "odd")
    with pytest.raises(FileNotFoundError, match=r"no run 'none' in .*; there are evil, odd"):
        read_run(str(tmp_path / "configs"), "none")

"""Run by dacapo-ml 0.3.5's own Python: ``write_dacapo_configs.py BASE`` writes runs with every
configuration that has a counterpart, and some that have none; one has a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import zarr
from dacapo.experiments import RunConfig
from dacapo.experiments.architectures import CNNectomeUNetConfig
from dacapo.experiments.datasplits import SimpleDataSplitConfig, TrainValidateDataSplitConfig
from dacapo.experiments.datasplits.datasets import RawGTDatasetConfig
from dacapo.experiments.datasplits.datasets.arrays import (
    BinarizeArrayConfig,
    ConcatArrayConfig,
    CropArrayConfig,
    IntensitiesArrayConfig,
    LogicalOrArrayConfig,
    OnesArrayConfig,
    ZarrArrayConfig,
)
from dacapo.experiments.starts import CosemStartConfig, StartConfig
from dacapo.experiments.tasks import (
    AffinitiesTaskConfig,
    DistanceTaskConfig,
    OneHotTaskConfig,
    PretrainedTaskConfig,
)
from dacapo.experiments.trainers import GunpowderTrainerConfig
from dacapo.experiments.trainers.gp_augments import (
    ElasticAugmentConfig,
    GammaAugmentConfig,
    IntensityAugmentConfig,
    IntensityScaleShiftAugmentConfig,
    SimpleAugmentConfig,
)
from dacapo.store.file_config_store import FileConfigStore
from dacapo.store.local_weights_store import LocalWeightsStore
from funlib.geometry import Coordinate, Roi

base = Path(sys.argv[1])


def write(path: str, data: np.ndarray) -> None:
    array = zarr.open(str(base / path), mode="w", shape=data.shape, chunks=(16,) * 3, dtype="u1")
    array[:] = data
    array.attrs.update(
        {"voxel_size": [8, 8, 8], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"]}
    )
    array.attrs["units"] = ["nm", "nm", "nm"]


rng = np.random.default_rng(0)
ids = np.zeros((40, 40, 40), np.uint8)
ids[:20, :20], ids[20:, 20:] = 3, 7
write("volume.zarr/raw", rng.integers(0, 256, ids.shape))
write("volume.zarr/ids", ids)
write("volume.zarr/mito", ids == 3)
for group in ("train", "test"):
    for crop in ("a", "b"):
        write(f"simple/{group}/{crop}/raw", rng.integers(0, 256, ids.shape))
        write(f"simple/{group}/{crop}/labels", ids == 3)


def stored(name: str) -> ZarrArrayConfig:
    return ZarrArrayConfig(name, file_name=base / "volume.zarr", dataset=name)


raw = IntensitiesArrayConfig("scaled", source_array_config=stored("raw"), min=10, max=200)
labels = BinarizeArrayConfig(
    "labels", source_array_config=stored("ids"), groupings=[("mito", [3]), ("er", [7])]
)
roi = Roi((0, 80, 160), (240, 240, 160))
datasplit = TrainValidateDataSplitConfig(
    "data",
    train_configs=[
        RawGTDatasetConfig(
            "binarized",
            weight=3,
            raw_config=raw,
            gt_config=labels,
            mask_config=OnesArrayConfig("ones", source_array_config=stored("raw")),
            sample_points=[Coordinate(1, 2, 3)],
        ),
        RawGTDatasetConfig(
            "cropped",
            raw_config=CropArrayConfig("raw crop", source_array_config=raw, roi=roi),
            gt_config=CropArrayConfig("crop", source_array_config=labels, roi=roi),
            mask_config=stored("mito"),
        ),
    ],
    validate_configs=[
        RawGTDatasetConfig(
            "one each",
            raw_config=stored("raw"),
            gt_config=ConcatArrayConfig(
                "each", channels=["er", "mito"], source_array_configs={"mito": stored("mito")}
            ),
        )
    ],
)
no_counterpart = TrainValidateDataSplitConfig(
    "unions",
    train_configs=[
        RawGTDatasetConfig(
            "union",
            raw_config=raw,
            gt_config=LogicalOrArrayConfig("or", source_array_config=stored("mito")),
        )
    ],
    validate_configs=[],
)
distance = DistanceTaskConfig(
    "distances", channels=["mito", "er"], clip_distance=160, tol_distance=16, scale_factor=50
)
one_hot = OneHotTaskConfig("classes", classes=["mito"], kernel_size=3)
unet = CNNectomeUNetConfig(
    "unet",
    input_shape=Coordinate(20, 20, 20),
    eval_shape_increase=Coordinate(8, 8, 8),
    fmaps_in=1,
    fmaps_out=2,
    num_fmaps=2,
    fmap_inc_factor=2,
    downsample_factors=[Coordinate(2, 2, 2)],
    kernel_size_down=[[Coordinate(3, 3, 3)] * 2] * 2,
    kernel_size_up=[[Coordinate(3, 3, 3)] * 2],
)
plain = GunpowderTrainerConfig("plain", batch_size=2, learning_rate=1e-4, num_data_fetchers=3)
varied = GunpowderTrainerConfig(
    "varied",
    batch_size=1,
    learning_rate=5e-5,
    snapshot_interval=500,
    augments=[
        SimpleAugmentConfig(),
        ElasticAugmentConfig([100, 100, 100], [30.0, 40.0, 40.0], (0, 1.57)),
        IntensityAugmentConfig(scale=(0.7, 1.2), shift=(-0.1, 0.05)),
        IntensityScaleShiftAugmentConfig(scale=2, shift=-1),
        GammaAugmentConfig((0.5, 2.0)),
    ],
)
pretrained = PretrainedTaskConfig("pre", sub_task_config=distance, weights=base / "weights")
affinities = AffinitiesTaskConfig("affinities", neighborhood=[Coordinate(0, 0, 1)])
simple = SimpleDataSplitConfig(path=base / "simple", name="simple")


def run(name: str, task=distance, trainer=plain, data=datasplit, start=None) -> RunConfig:
    return RunConfig(
        task_config=task,
        architecture_config=unet,
        trainer_config=trainer,
        datasplit_config=data,
        name=name,
        repetition=1,
        num_iterations=4,
        validation_interval=2,
        start_config=start,
    )


store = FileConfigStore(base / "configs")
for config in (
    run("distances"),
    run("classes", one_hot, varied, simple, StartConfig("distances", "2")),
    run("pretrained", pretrained, start=CosemStartConfig("setup04", "1820500")),
    run("affinities", affinities),
    run("unions", data=no_counterpart),
):
    store.store_run_config(config)


class Trained:
    """What DaCapo's weights store takes of a run."""

    def __init__(self, config: RunConfig) -> None:
        torch.manual_seed(0)
        self.name = config.name
        task = config.task_config.task_type(config.task_config)
        architecture = config.architecture_config.architecture_type(config.architecture_config)
        self.model = task.create_model(architecture)
        self.optimizer = torch.optim.RAdam(self.model.parameters())


LocalWeightsStore(base).store_weights(Trained(run("distances")), 2)

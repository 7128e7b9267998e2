"""Generated volumes to train and validate on."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dacapo_core.data.boxes import Box, Voxels, as_voxels
from dacapo_core.experiments.datasplits.datasets.arrays.array import Array, Nanometres
from dacapo_core.experiments.datasplits.datasets.labels import ChannelLabels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from dacapo_core.experiments.datasplits.datasplit import DataSplit
from dacapo_core.experiments.datasplits.synthetic_datasplit_config import SyntheticDataSplitConfig
from dacapo_core.experiments.datasplits.synthetic_tissue import CHANNELS, generate


class _Volume:
    """A volume that is generated when it is first read."""

    def __init__(self, config: SyntheticDataSplitConfig, index: int) -> None:
        self.config = config
        self.index = index
        self._lock = threading.Lock()
        self._data: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None

    @property
    def data(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        with self._lock:
            if self._data is None:
                self._data = generate(
                    np.random.default_rng([self.config.seed, self.index]),
                    self.config.shape,
                    self.config.voxel_size,
                    label_scale=self.config.label_scale,
                    noise=self.config.noise,
                )
            return self._data


class _Part(Array):
    """Raw data (0) or labels (1) of a generated volume."""

    offset = (0.0, 0.0, 0.0)

    def __init__(self, volume: _Volume, part: int, name: str) -> None:
        config = volume.config
        self._volume, self._part = volume, part
        self.name = f"generated volume {name}"
        scale = config.label_scale if part else (1, 1, 1)
        self.shape = as_voxels(n * s for n, s in zip(config.shape, scale, strict=True))
        self.voxel_size: Nanometres = tuple(  # type: ignore[assignment]
            v / s for v, s in zip(config.voxel_size, scale, strict=True)
        )
        self.num_channels = len(CHANNELS) if part else None
        self.dtype = np.dtype(bool if part else np.float32)
        if not part:
            self.known_range = (-1.0, 1.0)

    def read(self, begin: Voxels, end: Voxels) -> NDArray[Any]:
        return self._volume.data[self._part][(..., *Box(begin, end).slices)]


def synthetic_datasplit(config: SyntheticDataSplitConfig) -> DataSplit:
    """The volumes of a configuration; held-out ones are drawn after those to train on."""

    def dataset(index: int, name: str) -> RawGTDataset:
        volume = _Volume(config, index)
        labels = ChannelLabels(_Part(volume, 1, name), CHANNELS)
        return RawGTDataset(name, _Part(volume, 0, name), labels)

    return DataSplit(
        train=[dataset(i, f"generated_{i}") for i in range(config.num_train)],
        # far apart, so that more training volumes leave the held-out ones as they are
        validate=[dataset(1_000_000 + i, f"held_out_{i}") for i in range(config.num_validate)],
    )

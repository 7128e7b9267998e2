"""Generated volumes as cameras leave them: on disk, in types and units of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dacapo_core.experiments.datasplits.synthetic_tissue import CHANNELS, generate

Make = Callable[[np.ndarray], np.ndarray]
"""From raw data in -1…1 to what is stored."""

VOXEL_SIZE = [8, 8, 8]


def twelve_bits(raw: np.ndarray) -> np.ndarray:
    """Values of 1,000 to 3,000."""
    return (2000 + 1000 * raw).astype(np.uint16)


def write_raw(folder: Path, name: str, raw: np.ndarray) -> str:
    """Store raw data in place of what was there; returns its path."""
    file = folder / f"{name}_raw"
    array = zarr.create_array(file, data=raw, chunks=(16, 16, 16), overwrite=True)
    array.attrs["voxel_size"] = VOXEL_SIZE
    return str(file)


def write_volume(
    folder: Path, name: str, seed: int, make: Make = twelve_bits, size: int = 24, **values: Any
) -> dict[str, Any]:
    """A volume whose mitochondria are known, and its configuration."""
    raw, labels = generate(np.random.default_rng(seed), (size,) * 3, (8, 8, 8))
    truth = folder / f"{name}_mito"
    mito = labels[CHANNELS.index("mito")].astype(np.uint8)
    zarr.create_array(truth, data=mito, overwrite=True).attrs["voxel_size"] = VOXEL_SIZE
    return {
        "name": name,
        "raw_config": {"file_name": write_raw(folder, name, make(raw))},
        "gt_config": {"type": "zarr", "file_name": str(truth), "channels": ["mito"]},
        **values,
    }


def datasplit(train: list[dict[str, Any]], validate: list[dict[str, Any]]) -> dict[str, Any]:
    """The configuration of volumes to train and to validate on."""
    return {"type": "train_validate", "train_configs": train, "validate_configs": validate}

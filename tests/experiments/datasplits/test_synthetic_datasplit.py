"""The generated volumes."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
import xxhash
from pydantic import ValidationError
from scipy import ndimage
from skimage.filters import threshold_otsu

from dacapo_core.experiments.datasplits import SyntheticDataSplitConfig
from dacapo_core.experiments.datasplits.synthetic_tissue import CHANNELS, generate


def test_the_same_seed_is_the_same_volume_in_another_process() -> None:
    config = SyntheticDataSplitConfig(num_train=1, shape=(24, 24, 24))
    code = (
        "import xxhash, dacapo_core.experiments.datasplits as s;"
        "d = s.SyntheticDataSplitConfig(num_train=1, shape=(24, 24, 24)).build().train[0];"
        "print(xxhash.xxh3_64_hexdigest(d.read_raw((0, 0, 0), (24, 24, 24)).tobytes()))"
    )
    raw = config.build().train[0].read_raw((0, 0, 0), (24, 24, 24))
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == xxhash.xxh3_64_hexdigest(raw.tobytes())


def test_held_out_volumes_are_others_and_stay_as_they_are() -> None:
    few = SyntheticDataSplitConfig(num_train=1, num_validate=2, shape=(24, 24, 24)).build()
    many = SyntheticDataSplitConfig(num_train=3, num_validate=1, shape=(24, 24, 24)).build()
    end = (24, 24, 24)
    held_out = few.validate[0].read_raw((0, 0, 0), end)
    assert np.array_equal(held_out, many.validate[0].read_raw((0, 0, 0), end))
    for other in (few.train[0], few.validate[1]):
        assert not np.array_equal(held_out, other.read_raw((0, 0, 0), end))


def test_every_class_is_there_and_none_is_given_away_by_its_grey() -> None:
    raw, labels = generate(np.random.default_rng(3), (64, 64, 64), (8, 8, 8))
    assert raw.dtype == np.float32
    assert raw.min() >= -1
    assert raw.max() <= 1
    share = dict(zip(CHANNELS, labels.mean((1, 2, 3)), strict=True))
    assert all(value > 0.003 for value in share.values()), share
    pm, mito, mito_mem, ves, er = labels
    assert not (mito_mem & ~mito).any()
    assert not (pm & (mito | ves | er)).any()
    dark = raw < threshold_otsu(raw)
    for channel in (mito, pm, ves, er):
        assert 2 * (dark & channel).sum() / (dark.sum() + channel.sum()) < 0.8
    # membranes part the volume into cells
    assert ndimage.label(~pm)[1] >= 4


def test_finer_labels_show_the_same_volume() -> None:
    raw, labels = generate(np.random.default_rng(3), (24, 32, 32), (8, 8, 8), label_scale=(2, 2, 2))
    assert raw.shape == (24, 32, 32)
    assert labels.shape == (5, 48, 64, 64)
    pm = labels[0].reshape(24, 2, 32, 2, 32, 2).mean((1, 3, 5))
    assert raw[pm == 1].mean() < raw[pm == 0].mean() - 0.3


def test_a_volume_takes_a_fraction_of_a_second() -> None:
    started = time.process_time()
    generate(np.random.default_rng(0), (64, 64, 64), (8, 8, 8))
    assert time.process_time() - started < 2


def test_a_volume_too_small_for_its_contents_is_refused() -> None:
    with pytest.raises(ValidationError, match="too small for an organelle"):
        SyntheticDataSplitConfig(shape=(8, 64, 64))


def test_configurations_import_neither_torch_nor_zarr() -> None:
    code = (
        "import sys; from dacapo_core.experiments.datasplits import SyntheticDataSplitConfig;"
        "SyntheticDataSplitConfig.model_json_schema();"
        "print([name for name in ('torch', 'zarr', 'scipy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

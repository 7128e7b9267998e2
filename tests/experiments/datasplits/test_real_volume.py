"""The real serial-section volume, from the example configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from skimage.filters import threshold_otsu

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.train import train_until
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import validate_iteration

EXAMPLE = Path(__file__).parents[3] / "examples" / "drosophila-vnc.yaml"


@pytest.fixture
def volume(shared: Path) -> Path:
    found = shared / "data" / "drosophila-vnc.zarr"
    if not found.is_dir():
        pytest.skip("the real volume shared/data/drosophila-vnc.zarr is not here")
    return found


def example(volume: Path, iterations: int) -> RunConfig:
    text = EXAMPLE.read_text().replace("../shared/data/drosophila-vnc.zarr", str(volume))
    values = yaml.safe_load(text)
    return RunConfig.model_validate(
        {**values, "num_iterations": iterations, "validation_interval": iterations}
    )


def test_the_example_is_a_valid_configuration() -> None:
    config = RunConfig.from_file(EXAMPLE)
    assert config.task_config.channels == ["membranes", "mitochondria"]


def test_sections_are_parted_into_training_and_validation(volume: Path) -> None:
    run = Run(example(volume, 1), "cpu")
    (train,), (held_out,) = run.datasplit.train, run.datasplit.validate
    assert (train.begin, train.end) == ((0, 0, 0), (16, 512, 512))
    assert (held_out.begin, held_out.end) == ((16, 0, 0), (20, 512, 512))
    assert train.label_voxel_size == (45.0, 9.2, 9.2)
    labels, known = train.read_labels((12, 0, 0), (20, 512, 512), ["membranes", "mitochondria"])
    assert known[:, :4].all()
    assert not known[:, 4:].any()
    assert labels.any((1, 2, 3)).all()


@pytest.mark.slow
def test_a_short_run_beats_the_threshold_on_held_out_sections(volume: Path) -> None:
    run = Run(example(volume, 60), "cpu")
    (held_out,) = run.validation_datasets
    channels = run.task.channels
    raw = held_out.read_raw((0, 0, 0), held_out.raw.shape)
    dark = raw[16:] < threshold_otsu(raw)
    truth, _ = held_out.read_labels(held_out.begin, held_out.end, channels)
    train_until(run, 60)
    record = validate_iteration(run, held_out)
    for index, channel in enumerate(channels):
        overlap = np.logical_and(dark, truth[index]).sum()
        baseline = 2 * overlap / (dark.sum() + truth[index].sum())
        best = record.best_entry(f"{channel}__dice", True)
        assert best is not None
        assert best[0] > baseline + 0.05, (channel, best, baseline)

"""Tasks: targets worked by hand, losses, heads and post-processing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dacapo_core.experiments.architectures import CNNectomeUNetConfig
from dacapo_core.experiments.tasks import DistanceTaskConfig, OneHotTaskConfig

EVERYWHERE = np.ones((1, 1, 1, 6), np.uint8)
SMALL = CNNectomeUNetConfig(
    input_shape=(8, 8, 8), padding="same", num_fmaps=2, fmaps_out=2, downsample_factors=[(2, 2, 2)]
)


def line(*labels: int) -> np.ndarray:
    """One channel of labels along x."""
    return np.array(labels, np.uint8).reshape(1, 1, 1, -1)


def test_the_boundary_lies_between_voxels_and_distances_are_in_world_units() -> None:
    task = DistanceTaskConfig(channels=["a"], scale_factor=10, mask_distances=False).build()
    target, weight = task.create_target(line(0, 0, 1, 1, 1, 1), EVERYWHERE, (40, 40, 8))
    assert np.arctanh(target.ravel()) * 10 == pytest.approx([-12, -4, 4, 12, 20, 28], rel=1e-4)
    # 4 of 6 voxels are foreground: each class has half of the total
    assert weight.ravel() == pytest.approx([1.5, 1.5, 0.75, 0.75, 0.75, 0.75])


def test_distances_respect_anisotropic_voxels() -> None:
    task = DistanceTaskConfig(channels=["a"], scale_factor=100, mask_distances=False).build()
    labels = np.zeros((1, 5, 5, 5), np.uint8)
    labels[0, 2:] = 1
    target, _ = task.create_target(labels, np.ones_like(labels), (45, 9.2, 9.2))
    along_z = np.arctanh(target[0, :, 2, 2]) * 100
    assert along_z == pytest.approx([-67.5, -22.5, 22.5, 67.5, 112.5], rel=1e-4)


@pytest.mark.parametrize(("label", "sign"), [(0, -1), (1, 1)])
def test_without_a_boundary_the_distance_is_half_the_extent(label: int, sign: int) -> None:
    task = DistanceTaskConfig(channels=["a"], scale_factor=50, mask_distances=False).build()
    target, _ = task.create_target(line(*[label] * 6), EVERYWHERE, (100, 100, 8))
    assert target == pytest.approx(np.full(target.shape, sign * np.tanh(24 / 50)))


def test_distances_that_the_border_may_hide_do_not_count() -> None:
    task = DistanceTaskConfig(channels=["a"], scale_factor=50).build()
    labels = np.zeros((1, 21, 21, 21), np.uint8)
    labels[0, :, :, 10:] = 1
    _, weight = task.create_target(labels, np.ones_like(labels), (8, 8, 8))
    # beside the boundary in the middle is certain; the corner, far from the boundary, is not
    assert weight[0, 10, 10, 10] > 0
    assert weight[0, 10, 10, 9] > 0
    assert weight[0, 0, 0, 0] == 0
    assert weight[0, 10, 10, 0] == 0


def test_unlabelled_voxels_have_no_weight() -> None:
    mask = line(1, 1, 1, 0, 0, 0)
    for config in (
        OneHotTaskConfig(channels=["a"]),
        DistanceTaskConfig(channels=["a"], mask_distances=False),
    ):
        _, weight = config.build().create_target(line(0, 1, 1, 1, 0, 0), mask, (8, 8, 8))
        assert (weight.ravel() > 0).tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize("config", [OneHotTaskConfig(), DistanceTaskConfig()])
def test_the_head_has_a_channel_per_label(config: OneHotTaskConfig | DistanceTaskConfig) -> None:
    model = config.build().create_model(SMALL).eval()
    assert model.channels == config.channels
    prediction = model(torch.zeros(2, 1, 8, 8, 8))
    assert prediction.shape == (2, len(config.channels), 8, 8, 8)


def test_one_hot_predicts_probabilities_in_evaluation_only() -> None:
    model = OneHotTaskConfig().build().create_model(SMALL)
    raw = torch.randn(1, 1, 8, 8, 8)
    logits = model(raw)
    torch.testing.assert_close(model.eval()(raw), torch.sigmoid(logits))


@pytest.mark.parametrize("config", [OneHotTaskConfig(), DistanceTaskConfig()])
def test_the_loss_of_a_batch_is_the_mean_of_its_parts(
    config: OneHotTaskConfig | DistanceTaskConfig,
) -> None:
    task = config.build()
    generator = np.random.default_rng(0)
    labels = generator.random((4, 4, 6, 6, 6)) > 0.8
    labels[1, 2] = False  # a channel that one patch does not hold
    mask = generator.random((4, 1, 6, 6, 6)) > [[[[[0.1]]]], [[[[0.9]]]], [[[[0.5]]]], [[[[2]]]]]
    pairs = [task.create_target(a, b, (8, 8, 8)) for a, b in zip(labels, mask, strict=True)]
    target, weight = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*pairs, strict=True))
    prediction = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    whole = task.loss(prediction, target, weight)
    parts = [task.loss(prediction[i], target[i], weight[i]) for i in (slice(2), slice(2, 4))]
    assert torch.isfinite(whole)
    torch.testing.assert_close(whole, (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize("config", [OneHotTaskConfig(), DistanceTaskConfig(mask_distances=False)])
def test_a_perfect_prediction_has_the_lowest_loss(
    config: OneHotTaskConfig | DistanceTaskConfig,
) -> None:
    task = config.build()
    labels = np.zeros((4, 8, 8, 8), np.uint8)
    labels[:, 2:6, 2:6, 2:6] = 1
    target, weight = (
        torch.from_numpy(array)[None]
        for array in task.create_target(labels, np.ones_like(labels), (8, 8, 8))
    )
    perfect = (target * 2 - 1) * 20 if config.type == "one_hot" else target
    assert task.loss(perfect, target, weight) < 1e-6
    assert task.loss(-perfect, target, weight) > 0.01


def test_post_processing_thresholds() -> None:
    task = OneHotTaskConfig(channels=["a"], thresholds=[0.3, 0.5]).build()
    assert task.parameters == [{"threshold": 0.3}, {"threshold": 0.5}]

"""Training batches: their geometry, where they are drawn, and that chance is the generator's."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from dacapo_core.data.augmentation import Intensity, Turn
from dacapo_core.data.patch_sampler import PatchSampler
from dacapo_core.experiments.datasplits import AugmentationConfig, SyntheticDataSplitConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError, NumpyArray
from dacapo_core.experiments.datasplits.datasets.labels import ChannelLabels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from tests.data.patches import Patches, make


def volume(
    raw: np.ndarray,
    truth: np.ndarray,
    channels: Sequence[str] = ("a",),
    *,
    name: str = "v",
    voxel: tuple[float, float, float] = (8.0, 8.0, 8.0),
    label_voxel: tuple[float, float, float] | None = None,
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
    weight: float = 1.0,
) -> RawGTDataset:
    array = NumpyArray(f"{name}/truth", truth, label_voxel or voxel, offset)
    return RawGTDataset(
        name, NumpyArray(f"{name}/raw", raw, voxel), ChannelLabels(array, channels), weight=weight
    )


def coordinates(*shape: int) -> np.ndarray:
    """Raw data whose value tells its place."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def draw(sampler: PatchSampler, count: int, seed: int = 0) -> list[Patches]:
    return [make(sampler, np.random.default_rng([seed, i])) for i in range(count)]


def test_a_patch_holds_the_labels_of_its_centre() -> None:
    raw = coordinates(12, 12, 12)
    sampler = PatchSampler([volume(raw, raw % 2 == 0)], ["a"], (8, 8, 8), (4, 4, 4))
    for batch in draw(sampler, 20):
        assert batch.raw.shape == (1, 1, 8, 8, 8)
        assert batch.labels.shape == batch.mask.shape == (1, 1, 4, 4, 4)
        assert np.array_equal(batch.raw[0, 0, 2:6, 2:6, 2:6] % 2 == 0, batch.labels[0, 0])
        assert batch.mask.all()


def test_labels_finer_than_raw() -> None:
    raw = coordinates(10, 10, 10)
    fine = np.repeat(np.repeat(np.repeat(raw % 2 == 0, 2, 0), 2, 1), 2, 2)
    dataset = volume(raw, fine, label_voxel=(4.0, 4.0, 4.0))
    sampler = PatchSampler([dataset], ["a"], (6, 6, 6), (8, 8, 8), (2, 2, 2))
    assert sampler.voxel_size == (4.0, 4.0, 4.0)
    for batch in draw(sampler, 20):
        centre = batch.raw[0, 0, 1:5, 1:5, 1:5] % 2 == 0
        assert np.array_equal(batch.labels[0, 0, ::2, ::2, ::2], centre)


def test_the_same_generator_gives_the_same_batch_from_any_thread() -> None:
    split = SyntheticDataSplitConfig(num_train=2, shape=(32, 32, 32)).build()

    def sampler() -> PatchSampler:
        return PatchSampler(
            split.train,
            ["mito", "pm"],
            (16, 16, 16),
            (16, 16, 16),
            augmentation=AugmentationConfig(),
        )

    alone = draw(sampler(), 8)
    threaded = sampler()
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda i: make(threaded, np.random.default_rng([0, i])), range(8)))
    for one, other in zip(alone, drawn, strict=True):
        for first, second in zip(one, other, strict=True):
            assert np.array_equal(first, second)
    assert not np.array_equal(alone[0].raw, alone[1].raw)


def test_rare_foreground_is_found_often() -> None:
    truth = np.zeros((2, 64, 64, 64), bool)
    truth[0, 40:42, 7:9, 50:52] = True
    truth[1, :30] = True
    dataset = volume(np.zeros((64, 64, 64), np.float32), truth, ["rare", "common"])
    sampler = PatchSampler([dataset], ["rare", "common"], (16, 16, 16), (16, 16, 16))
    held = np.mean([batch.labels[0, 0].any() for batch in draw(sampler, 200)])
    # a quarter is aimed at it; anywhere at random would be about one in thirty
    assert 0.15 < held < 0.45


def test_patches_are_where_labels_are() -> None:
    truth = np.ones((6, 6, 6), bool)
    raw = coordinates(40, 40, 40)
    small = volume(raw, truth, offset=(160.0, 160.0, 160.0))
    for batch in draw(PatchSampler([small], ["a"], (16, 16, 16), (8, 8, 8)), 20):
        # the crop is smaller than the output: it is in it whole, the rest is unknown
        assert batch.mask.sum() == 6**3
        where = np.argwhere(batch.mask[0, 0])[0]
        first = batch.raw[0, 0, 4:12, 4:12, 4:12][tuple(where)]
        assert first == raw[20, 20, 20]


def test_weights_and_partly_labelled_volumes() -> None:
    first = volume(np.zeros((8, 8, 8), np.float32), np.ones((8, 8, 8)), ["a"], weight=3)
    second = volume(np.ones((8, 8, 8), np.float32), np.ones((8, 8, 8)), ["b"], name="w")
    sampler = PatchSampler([first, second], ["a", "b"], (4, 4, 4), (4, 4, 4))
    batches = draw(sampler, 400)
    from_second = [batch.raw.max() == 1 for batch in batches]
    assert np.mean(from_second) == pytest.approx(0.25, abs=0.07)
    for batch, second_one in zip(batches, from_second, strict=True):
        assert batch.mask[0, 0].all() == (not second_one)
        assert batch.mask[0, 1].all() == second_one


def test_a_two_dimensional_network_gets_sections() -> None:
    raw = coordinates(3, 16, 16)
    sampler = PatchSampler([volume(raw, raw % 2 == 0)], ["a"], (8, 8), (4, 4))
    for batch in draw(sampler, 5):
        assert batch.raw.shape == (1, 1, 8, 8)
        assert np.array_equal(batch.raw[0, 0, 2:6, 2:6] % 2 == 0, batch.labels[0, 0])


def test_turns_keep_raw_and_labels_together_and_sections_sections() -> None:
    raw = torch.from_numpy(coordinates(8, 8, 8))
    seen = set()
    for seed in range(60):
        turn = Turn.draw(
            AugmentationConfig(), np.random.default_rng(seed), [raw.shape], (45.0, 9.2, 9.2)
        )
        turned, labels = turn(raw), turn((raw % 3 == 0)[None])
        assert torch.equal(turned % 3 == 0, labels[0])
        # a section holds 64 consecutive numbers, whichever way it is turned
        assert np.ptp(turned.numpy(), axis=(1, 2)).tolist() == [63] * 8
        seen.add(turned.numpy().tobytes())
    assert len(seen) == 16
    still = AugmentationConfig(mirror=False, transpose=False)
    turn = Turn.draw(still, np.random.default_rng(0), [raw.shape], (8.0, 8.0, 8.0))
    assert torch.equal(turn(raw), raw)


def test_intensity_stays_within_what_was_asked() -> None:
    config = AugmentationConfig(contrast=0.5, brightness=0.2, section_brightness=0, noise=0)
    raw = torch.linspace(-1, 1, 4**3).reshape(4, 4, 4)

    def varied(config: AugmentationConfig, seed: int) -> torch.Tensor:
        intensity, values = Intensity.draw(config, np.random.default_rng(seed), 4), raw.clone()
        intensity.apply(values, torch.from_numpy(intensity.sections))
        return values

    for seed in range(20):
        values = varied(config, seed)
        assert 0.5 <= np.ptp(values.numpy()) / 2 <= 1.5
        assert abs(values.mean()) <= 0.2
    off = AugmentationConfig(contrast=0, brightness=0, section_brightness=0, noise=0)
    torch.testing.assert_close(varied(off, 0), raw, atol=1e-6, rtol=0)
    noisy = AugmentationConfig(contrast=0, brightness=0, section_brightness=0, noise=0.5)
    assert torch.equal(varied(noisy, 3), varied(noisy, 3))
    assert not torch.equal(varied(noisy, 3), varied(noisy, 4))


def test_what_does_not_fit_is_refused_by_name() -> None:
    ones = np.ones((8, 8, 8))
    zeros = np.zeros((8, 8, 8), np.float32)
    good = volume(zeros, ones)

    def train(datasets: list[RawGTDataset], channels: list[str], *shapes: Any) -> None:
        sampler = PatchSampler(datasets, channels, *(shapes or ((4, 4, 4), (4, 4, 4))))
        make(sampler, np.random.default_rng(0))

    def refused(message: str, *arguments: Any) -> None:
        with pytest.raises(ArrayError, match=message):
            train(*arguments)

    refused("channel 'er' of the task is labelled in no volume", [good], ["a", "er"])
    refused("'w' labels b, none of", [good, volume(zeros, ones, ["b"], name="w")], ["a"])
    refused(
        r"v/raw of shape \(8, 8, 8\) is smaller than the input",
        [good],
        ["a"],
        (16, 4, 4),
        (4, 4, 4),
    )
    refused(
        r"v/raw has .*, w/raw has \(4.0",
        [good, volume(zeros, ones, name="w", voxel=(4.0, 4.0, 4.0))],
        ["a"],
    )
    refused("output is finer than its input", [good], ["a"], (4, 4, 4), (8, 8, 8), (2, 2, 2))
    refused(
        "channel 'a' has no voxel in any training volume .v/truth", [volume(zeros, zeros)], ["a"]
    )
    edge = volume(np.zeros((20, 8, 8), np.float32), ones[:1])
    refused("'v': no labels in z where", [edge], ["a"], (12, 4, 4), (4, 4, 4))
    mask = NumpyArray("mask", zeros, (8.0, 8.0, 8.0))
    hidden = RawGTDataset("v", good.raw, good.labels, mask=mask)
    refused("'v': no voxel of v/truth is labelled", [hidden], ["a"])
    broken = zeros.copy()
    broken[3, 3, 3] = np.inf
    refused(r"raw data v/raw .* at voxel \(3, 3, 3\)", [volume(broken, ones)], ["a"])

"""Elastic deformation: raw and labels move together, in nm, by chance that is the generator's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from dacapo_core.data.boxes import Box
from dacapo_core.data.elastic_deformation import ElasticField, deform, interpolated, nearest
from dacapo_core.data.patch_sampler import PatchSampler
from dacapo_core.experiments.datasplits import AugmentationConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import NumpyArray
from dacapo_core.experiments.datasplits.datasets.labels import ChannelLabels
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
from tests.data.patches import Patches, make

STILL = {
    "mirror": False,
    "transpose": False,
    "contrast": 0,
    "brightness": 0,
    "section_brightness": 0,
    "noise": 0,
}
ANISOTROPIC = (40.0, 10.0, 10.0)


def elastic(displacement: float, spacing: float) -> AugmentationConfig:
    return AugmentationConfig(**STILL, elastic_displacement=displacement, elastic_spacing=spacing)


def places(
    shape: tuple[int, ...], voxel: tuple[float, ...], axis: int, label_scale: int = 1
) -> RawGTDataset:
    """A volume whose raw data is the place along an axis, in nm, its label the far half."""
    whole = np.indices(shape)[axis]
    raw = ((whole + 0.5) * voxel[axis]).astype(np.float32)
    fine = np.kron(raw, np.ones([label_scale] * 3))
    middle = shape[axis] * voxel[axis] / 2
    truth = NumpyArray("truth", fine > middle, tuple(size / label_scale for size in voxel))
    return RawGTDataset("v", NumpyArray("raw", raw, voxel), ChannelLabels(truth, ["far"]))


def draw(
    dataset: RawGTDataset, config: AugmentationConfig | None, count: int = 12, label_scale: int = 1
) -> list[Patches]:
    inputs = (8, 32, 32)
    outputs = tuple((n - 4) * label_scale for n in inputs)
    sampler = PatchSampler(
        [dataset], ["far"], inputs, outputs, (label_scale,) * 3, augmentation=config
    )
    return [make(sampler, np.random.default_rng([7, i])) for i in range(count)]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_raw_and_labels_move_together(axis: int) -> None:
    shape, size = (24, 96, 96), ANISOTROPIC[axis]
    middle = shape[axis] * size / 2
    dataset, bent = places(shape, ANISOTROPIC, axis), 0
    for batch in draw(dataset, elastic(60, 200)):
        raw, label = batch.raw[0, 0, 2:-2, 2:-2, 2:-2], batch.labels[0, 0]
        # raw data is interpolated, labels are of the nearest voxel
        sure = (np.abs(raw - middle) > size / 2 + 0.1) & batch.mask[0, 0]
        assert np.array_equal(label[sure], (raw > middle)[sure])
        assert sure.mean() > 0.4
        bent += np.ptp(np.diff(raw, axis=axis)) > 1
    assert bent == 12


@pytest.mark.parametrize("axis", [0, 2])
def test_labels_finer_than_raw_move_with_it(axis: int) -> None:
    shape, size = (24, 96, 96), ANISOTROPIC[axis]
    middle = shape[axis] * size / 2
    dataset = places(shape, ANISOTROPIC, axis, label_scale=2)
    for batch in draw(dataset, elastic(60, 200), label_scale=2):
        raw = np.kron(batch.raw[0, 0, 2:-2, 2:-2, 2:-2], np.ones((2, 2, 2)))
        sure = (np.abs(raw - middle) > size) & batch.mask[0, 0]
        assert sure.mean() > 0.4
        assert np.array_equal(batch.labels[0, 0][sure], (raw > middle)[sure])


def sources(field: ElasticField, box: Box, voxel: tuple[float, ...]) -> np.ndarray:
    """Where each voxel of a box comes from, in voxels of the box, ``(3, z, y, x)``."""
    shape = tuple(b - a for a, b in zip(*box, strict=True))
    places = torch.empty((3, *shape))
    tensors = [torch.from_numpy(each) for each in field.tensors(box, voxel)]
    deform(tensors, [(lambda moved: moved, places)], (0, 0, 0))
    return places.numpy()


def test_points_move_as_far_as_asked_in_nm_whatever_the_voxels() -> None:
    field = ElasticField.draw(
        np.random.default_rng(0), ((0, 0, 0), (20, 20, 20)), (40, 40, 40), 200, 80
    )
    coarse = sources(field, ((0, 0, 0), (20, 20, 20)), (40, 40, 40)) - np.indices((20, 20, 20))
    # every second and third voxel of an odd multiple is centred where a coarse one is
    fine = sources(field, ((0, 0, 0), (20, 60, 60)), (40, 40 / 3, 40 / 3))
    fine -= np.indices((20, 60, 60))
    in_nm = coarse * 40
    assert np.allclose(in_nm[0], fine[0, :, 1::3, 1::3] * 40, atol=1e-3)
    assert np.allclose(in_nm[1:], fine[1:, :, 1::3, 1::3] * 40 / 3, atol=1e-3)
    assert 20 < np.abs(in_nm).max() <= 80
    # no fold: what is further on comes from further on
    for axis in range(3):
        assert np.diff(coarse[axis] + np.indices((20, 20, 20))[axis], axis=axis).min() > 0


def test_it_is_the_cubic_b_spline_that_scipy_interpolates() -> None:
    generator = np.random.default_rng(5)
    box, voxel, margin = ((4, 8, 8), (24, 60, 52)), (40.0, 10.0, 10.0), (2, 7, 7)
    field = ElasticField.draw(generator, box, voxel, 200, 60)
    assert all(a <= b for a, b in zip(field.margin(voxel), margin, strict=True))
    shape = tuple(b - a + 2 * m for a, b, m in zip(*box, margin, strict=True))
    raw = generator.standard_normal(shape).astype(np.float32)
    labels = generator.integers(0, 5, (2, *shape), np.uint8)
    # Rueckert's sum over 4 x 4 x 4 control points, straight from the formula
    centres = np.indices(raw[2:-2, 7:-7, 7:-7].shape).reshape(3, -1).T
    in_nm = (centres + box[0] + 0.5) * voxel
    cells = (in_nm - field.begin) / field.spacing
    moved = np.zeros_like(in_nm)
    for corner in itertools.product(range(4), repeat=3):
        first = np.floor(cells).astype(int)
        weight = np.prod([basis(cells[:, a] - first[:, a], corner[a]) for a in range(3)], axis=0)
        z, y, x = (first + corner).T
        moved += weight[:, None] * field.points[:, z, y, x].T
    places = (centres + moved / voxel + margin).T
    got_raw = torch.empty(raw[2:-2, 7:-7, 7:-7].shape)
    got_labels = torch.empty((2, *got_raw.shape), dtype=torch.uint8)
    takes = [
        (interpolated(torch.from_numpy(raw)), got_raw),
        (nearest(torch.from_numpy(labels), (0, 0, 0), True), got_labels),
    ]
    deform([torch.from_numpy(each) for each in field.tensors(box, voxel)], takes, margin)
    wanted = map_coordinates(raw, places, order=1)
    assert np.abs(got_raw.numpy().ravel() - wanted).max() < 1e-3
    sure = (np.abs(places - np.floor(places) - 0.5) > 1e-4).all(axis=0)
    z, y, x = np.rint(places).astype(int)
    assert np.array_equal(got_labels.numpy().reshape(2, -1)[:, sure], labels[:, z, y, x][:, sure])
    assert sure.mean() > 0.99


def basis(t: np.ndarray, index: int) -> np.ndarray:
    """The four pieces of a uniform cubic B-spline."""
    return [
        (1 - t) ** 3,
        3 * t**3 - 6 * t**2 + 4,
        -3 * t**3 + 3 * t**2 + 3 * t + 1,
        t**3,
    ][index] / 6


def test_the_same_generator_gives_the_same_patch_and_off_changes_nothing() -> None:
    dataset = places((24, 96, 96), ANISOTROPIC, 2)
    first, again = (draw(dataset, elastic(60, 200), 3) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(first[0].raw, first[1].raw)
    off, plain = draw(dataset, AugmentationConfig(**STILL), 3), draw(dataset, None, 3)
    for one, other in zip(off, plain, strict=True):
        assert np.allclose(one.raw, other.raw, rtol=1e-6)
    assert AugmentationConfig().elastic_displacement == 0


def test_what_comes_from_beyond_the_volume_is_unknown() -> None:
    dataset = places((12, 36, 36), ANISOTROPIC, 2)
    sampler = PatchSampler(
        [dataset], ["far"], (12, 36, 36), (12, 36, 36), augmentation=elastic(60, 200)
    )
    known = [make(sampler, np.random.default_rng(i)).mask.mean() for i in range(5)]
    assert 0.5 < min(known) < max(known) < 1


def test_a_network_of_two_dimensions_sees_it_within_sections() -> None:
    raw = np.broadcast_to(np.arange(9.0)[:, None, None], (9, 40, 40)).astype(np.float32)
    truth = NumpyArray("truth", np.ones((9, 40, 40)), ANISOTROPIC)
    dataset = RawGTDataset("v", NumpyArray("raw", raw, ANISOTROPIC), ChannelLabels(truth, ["a"]))
    sampler = PatchSampler([dataset], ["a"], (16, 16), (8, 8), augmentation=elastic(60, 200))
    for i in range(8):
        assert np.ptp(make(sampler, np.random.default_rng(i)).raw) < 1e-5


def test_what_would_fold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"elastic_displacement of 90 nm.*fold"):
        elastic(90, 200)

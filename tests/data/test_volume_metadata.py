"""What attributes of zarr arrays and of the groups around them say, right or wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from dacapo_core.experiments.datasplits.datasets.arrays import ZarrArrayConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError

DATA = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(4, 6, 8)


def write(
    container: Path,
    attributes: dict[str, Any],
    group: dict[str, Any] | None = None,
    data: np.ndarray = DATA,
    zarr_format: Any = 3,
    **more: Any,
) -> None:
    """An array `s0` in a group."""
    root = zarr.create_group(str(container), attributes=group, zarr_format=zarr_format)
    root.create_array("s0", data=data, **more).attrs.update(attributes)


def ome(axes: str, scale: list[float], unit: str | None = "nanometer") -> dict[str, Any]:
    described = [
        {"name": n, "type": "channel"}
        if n == "c"
        else {"name": n, "type": "space"} | ({} if unit is None else {"unit": unit})
        for n in axes
    ]
    level = {
        "path": "s0",
        "coordinateTransformations": [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": [s / 2 for s in scale]},
        ],
    }
    return {"ome": {"version": "0.5", "multiscales": [{"axes": described, "datasets": [level]}]}}


def opened(container: Path, **more: Any) -> Any:
    return ZarrArrayConfig(file_name=str(container), dataset="s0", **more).array()


@pytest.mark.parametrize(
    ("order", "attributes", "group"),
    [
        ("xyz", {"axis_names": ["x", "y", "z"], "voxel_size": [4, 5, 40]}, None),
        ("xzy", {"axis_names": ["x", "z", "y"], "voxel_size": [4, 40, 5]}, None),
        ("yxz", {}, ome("yxz", [5, 4, 40])),
        ("xyzc", {}, ome("xyzc", [4, 5, 40, 1])),
        ("zcyx", {}, ome("zcyx", [40, 1, 5, 4])),
        ("xyz", {"transform": {"axes": ["x", "y", "z"], "scale": [4, 5, 40]}}, None),
    ],
)
def test_axes_in_another_order_are_turned(
    tmp_path: Path, order: str, attributes: dict[str, Any], group: dict[str, Any] | None
) -> None:
    channels = "c" in order
    data = np.stack([DATA, DATA + 1]) if channels else DATA
    names = "czyx" if channels else "zyx"
    stored = data.transpose([names.index(axis) for axis in order])
    write(tmp_path / "v", attributes, group, stored, chunks=(3,) * stored.ndim)
    array = opened(tmp_path / "v")
    assert array.shape == DATA.shape
    assert array.num_channels == (2 if channels else None)
    assert array.voxel_size == (40, 5, 4)
    assert np.array_equal(array.read((1, 2, 3), (4, 6, 8)), data[..., 1:4, 2:6, 3:8])


def test_names_of_dimensions_order_an_array_without_attributes(tmp_path: Path) -> None:
    write(tmp_path / "v", {}, None, DATA.T, dimension_names=["x", "y", "z"])
    array = opened(tmp_path / "v", voxel_size=[4, 5, 40])
    assert array.shape == DATA.shape
    assert array.voxel_size == (40, 5, 4)
    # names that say nothing leave the order as it is
    write(tmp_path / "w", {"voxel_size": [8] * 3}, dimension_names=["dim_0", "dim_1", "dim_2"])
    assert opened(tmp_path / "w").shape == DATA.shape


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_group_has_the_place_where_the_array_has_none(
    tmp_path: Path, zarr_format: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = {"resolution": [0.04, 0.005, 0.004], "offset": [0.08, 0, 0], "units": ["um"] * 3}
    write(tmp_path / "v", {}, group, zarr_format=zarr_format)
    array = opened(tmp_path / "v")
    assert array.voxel_size == pytest.approx((40, 5, 4))
    assert array.offset == pytest.approx((80, 0, 0))
    # what the array says itself counts, and what is said by hand counts most
    write(tmp_path / "w", {"voxel_size": [8] * 3}, group, zarr_format=zarr_format)
    assert opened(tmp_path / "w").voxel_size == (8, 8, 8)
    assert opened(tmp_path / "v", voxel_size=[9] * 3).voxel_size == (9, 9, 9)
    monkeypatch.chdir(tmp_path / "v")
    assert ZarrArrayConfig(file_name="s0").array().voxel_size == pytest.approx((40, 5, 4))


@pytest.mark.parametrize("blank", ["", " ", None])
def test_a_blank_unit_means_that_none_is_said(tmp_path: Path, blank: str | None) -> None:
    write(tmp_path / "a", {"voxel_size": [40, 5, 4], "units": blank})
    write(tmp_path / "b", {"voxel_size": [40, 5, 4], "units": [blank, "nm", blank]})
    write(tmp_path / "c", {"transform": {"scale": [40, 5, 4], "units": [blank] * 3}})
    write(tmp_path / "d", {}, ome("zyx", [40, 5, 4], blank))
    write(tmp_path / "e", {"pixelResolution": {"dimensions": [4, 5, 40], "unit": blank}})
    for name in "abcde":
        assert opened(tmp_path / name).voxel_size == (40, 5, 4), name


def test_ome_without_multiscales_is_told_as_such(tmp_path: Path) -> None:
    write(tmp_path / "v", {}, {"ome": {"version": "0.5", "labels": ["s0"]}})
    with pytest.raises(ArrayError, match=r"v/s0 has no .*group .*/v around it says ome.*multisc"):
        opened(tmp_path / "v")
    with pytest.raises(ArrayError, match=r"v is a group, .*its ome holds no multiscales.*: s0"):
        ZarrArrayConfig(file_name=str(tmp_path / "v")).array()
    assert opened(tmp_path / "v", voxel_size=[8] * 3).voxel_size == (8, 8, 8)
    # an image that names other arrays
    write(tmp_path / "w", {}, ome("zyx", [8] * 3))
    zarr.create_array(str(tmp_path / "w/other"), data=DATA)
    with pytest.raises(ArrayError, match=r"other has no voxel_size.*set voxel_size"):
        ZarrArrayConfig(file_name=str(tmp_path / "w"), dataset="other").array()


def test_what_cannot_be_understood_is_named(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"voxel_size": [8] * 3, "units": ["parsec"] * 3}, {}, "s0: .*'parsec' is not known"),
        ({"voxel_size": [8] * 3, "units": ["nm"]}, {}, "s0: .*3 values .* have 1 units"),
        ({"voxel_size": [8, 8]}, {}, r"s0: voxel_size \(8.0, 8.0\) has 2 values, wanted 3"),
        ({"voxel_size": [0, 8, 8]}, {}, "s0: voxel_size .* is not positive"),
        ({"voxel_size": [float("nan"), 8, 8]}, {}, "s0: voxel_size .* is not positive"),
        ({"voxel_size": [8] * 3, "offset": [0, float("inf"), 0]}, {}, "s0: offset .* not finite"),
        ({}, {"ome": {"multiscales": [{"datasets": [{"path": "s0"}]}]}}, "s0: "),
        ({}, {"ome": None}, "says ome"),
    ]
    for number, (attributes, group, message) in enumerate(cases):
        # format 2 keeps attributes apart: a NaN in them is no JSON, and is read all the same
        write(tmp_path / str(number), attributes, group, zarr_format=2)
        with pytest.raises(ArrayError, match=message):
            opened(tmp_path / str(number))

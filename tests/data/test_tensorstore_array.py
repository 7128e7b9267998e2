"""Zarr arrays at real URLs, the cache that they share, and what is said if they are of no use."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.storage import FsspecStore

from dacapo_core.data.chunk_cache import cache_bytes, divide_cache, set_cache_bytes
from dacapo_core.data.memory_limits import memory_bytes
from dacapo_core.experiments.datasplits.datasets.arrays import ZarrArrayConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError

DATA = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(4, 6, 8)


def write(
    url: str,
    data: np.ndarray = DATA,
    *,
    attributes: dict[str, Any] | None = None,
    zarr_format: Any = 3,
    **storage_options: Any,
) -> None:
    if "://" in url:
        store: Any = FsspecStore.from_url(url, storage_options=storage_options)
    else:
        store = url
    array = zarr.create_array(
        store, shape=data.shape, chunks=(2,) * data.ndim, dtype=data.dtype, zarr_format=zarr_format
    )
    array[...] = data
    array.attrs.update({"voxel_size": [40, 4, 4]} if attributes is None else attributes)


def ome(path: str, scale: list[float], translation: list[float]) -> dict[str, Any]:
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    level = {
        "path": path,
        "coordinateTransformations": [
            {"type": "scale", "scale": [1.0, *scale]},
            {"type": "translation", "translation": [0.0, *translation]},
        ],
    }
    return {"multiscales": [{"axes": axes, "datasets": [level]}]}


@pytest.fixture
def own_cache() -> Iterator[None]:
    """A cache that this test alone changes."""
    yield
    divide_cache(1)
    set_cache_bytes(None)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_box_is_read_in_either_format(tmp_path: Path, zarr_format: int) -> None:
    write(str(tmp_path / "v.zarr/em"), zarr_format=zarr_format)
    array = ZarrArrayConfig(file_name=str(tmp_path / "v.zarr"), dataset="em").array()
    assert array.shape == (4, 6, 8)
    assert array.voxel_size == (40.0, 4.0, 4.0)
    assert np.array_equal(array.read((1, 2, 3), (3, 5, 8)), DATA[1:3, 2:5, 3:8])


def test_memory_http_and_file_urls_give_the_same(tmp_path: Path, http_server: str) -> None:
    name = f"{uuid.uuid4().hex}.zarr"
    write(f"memory://{name}/em")
    write(str(tmp_path / name / "em"), zarr_format=2)
    for url in (f"memory://{name}", f"{http_server}/{name}", f"file://{tmp_path}/{name}"):
        array = ZarrArrayConfig(file_name=url, dataset="em").array()
        assert np.array_equal(array.read((0, 0, 0), (4, 6, 8)), DATA), url


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_levels_have_their_size_and_place(tmp_path: Path, version: str) -> None:
    write(str(tmp_path / "em/s1"), DATA[None], attributes={})
    image = ome("s1", [0.08, 0.008, 0.008], [0.02, 0.002, 0.002])
    group = zarr.open_group(str(tmp_path / "em"), mode="a")
    group.attrs.update(image if version == "0.4" else {"ome": image})
    array = ZarrArrayConfig(file_name=str(tmp_path / "em"), dataset="s1").array()
    assert array.voxel_size == pytest.approx((80, 8, 8))
    # the translation is of the first voxel's centre: level s1 begins where s0 does
    assert array.offset == pytest.approx((20 - 40, 2 - 4, 2 - 4))
    assert array.shape == (4, 6, 8)


@pytest.mark.parametrize(
    ("attributes", "size", "offset"),
    [
        ({"resolution": [45, 9.2, 9.2], "offset": [90, 0, 0]}, (45, 9.2, 9.2), (90, 0, 0)),
        ({"voxel_size": [0.04, 0.004, 0.004], "units": ["um"] * 3}, (40, 4, 4), (0, 0, 0)),
        (
            {"transform": {"scale": [8, 4, 4], "translate": [4, 2, 2], "units": ["nm"] * 3}},
            (8, 4, 4),
            (0, 0, 0),
        ),
        ({"pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"}}, (40, 4, 4), (0, 0, 0)),
    ],
)
def test_attributes_of_other_writers(
    tmp_path: Path, attributes: dict[str, Any], size: Any, offset: Any
) -> None:
    write(str(tmp_path / "em"), attributes=attributes)
    array = ZarrArrayConfig(file_name=str(tmp_path / "em")).array()
    assert array.voxel_size == pytest.approx(size)
    assert array.offset == pytest.approx(offset)


def test_the_configuration_overrides_attributes(tmp_path: Path) -> None:
    write(str(tmp_path / "em"))
    array = ZarrArrayConfig(file_name=str(tmp_path / "em"), voxel_size=(30, 5, 5)).array()
    assert array.voxel_size == (30, 5, 5)


def test_an_image_is_a_volume_of_one_section(tmp_path: Path) -> None:
    write(str(tmp_path / "em"), DATA[0], attributes={"voxel_size": [4, 4]})
    array = ZarrArrayConfig(file_name=str(tmp_path / "em")).array()
    assert array.shape == (1, 6, 8)
    assert np.array_equal(array.read((0, 1, 1), (1, 3, 3)), DATA[:1, 1:3, 1:3])


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    write(str(tmp_path / "em"), zarr_format=2)
    array = ZarrArrayConfig(file_name=str(tmp_path / "em")).array()
    # what is outside the box may be missing altogether
    (tmp_path / "em/1.2.3").write_bytes(b"damaged")
    assert np.array_equal(array.read((0, 0, 0), (2, 4, 6)), DATA[:2, :4, :6])
    with pytest.raises(ArrayError, match=r"em cannot be read: .*1\.2\.3"):
        array.read((0, 0, 0), (4, 6, 8))


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_decoded_chunks_are_kept_as_far_as_the_bound_goes(
    tmp_path: Path, own_cache: None, codec: str
) -> None:
    path = tmp_path / "em"
    data = np.arange(8 * 64 * 64, dtype=np.uint16).reshape(8, 64, 64)
    compressor = {"zstd": numcodecs.Zstd(), "lz4": numcodecs.LZ4()}[codec]
    stored = zarr.create_array(
        str(path), data=data, chunks=(1, 64, 64), compressors=compressor, zarr_format=2
    )
    stored.attrs["voxel_size"] = [8, 8, 8]
    first, second = (ZarrArrayConfig(file_name=str(path)).array() for _ in range(2))
    assert (first.shape, first.dtype) == (data.shape, data.dtype)
    chunk = data[0].nbytes
    # most of one array, and none of it twice where tensorstore shares it between two
    set_cache_bytes(16 * chunk)
    readings = [first.start_read((z, 0, 0), (z + 1, 64, 64)) for z in range(8)]
    assert np.array_equal(np.concatenate([each() for each in readings]), data)
    assert np.array_equal(second.read((0, 0, 0), (8, 64, 64)), data)
    for file in path.glob("*.0.0"):
        file.write_bytes(b"damaged")
    for array in (first, second):
        assert np.array_equal(array.read((3, 0, 0), (6, 64, 64)), data[3:6])
    # a smaller bound gives up what was kept, in arrays that are open too
    set_cache_bytes(2 * chunk)
    with pytest.raises(ArrayError, match="em cannot be read"):
        first.read((3, 0, 0), (4, 64, 64))


@pytest.mark.slow
@pytest.mark.s3
def test_a_volume_larger_than_the_cache_is_read_from_a_server_again(
    tmp_path: Path, own_cache: None, http_server: str, s3_server: Any
) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 255, (32, 32, 32), np.uint8)
    stored = zarr.create_array(str(tmp_path / "em"), data=data, chunks=(16, 16, 16))
    stored.attrs["voxel_size"] = [8, 8, 8]
    url, options = s3_server.new_folder(), s3_server.storage_options
    fsspec.filesystem("s3", **options).put(f"{tmp_path}/", f"{url}/", recursive=True)
    set_cache_bytes(2 * 16**3)
    for place, given in ((http_server, {}), (url, options)):
        array = ZarrArrayConfig(file_name=f"{place}/em", storage_options=given).array()
        begins = rng.integers(0, 24, (10, 3))
        readings = [array.start_read(tuple(begin), tuple(begin + 8)) for begin in begins]
        for (z, y, x), reading in zip(begins, readings, strict=True):
            assert np.array_equal(reading(), data[z : z + 8, y : y + 8, x : x + 8])


def test_the_cache_takes_a_share_of_what_memory_there_is(own_cache: None) -> None:
    whole = cache_bytes()
    assert 0 < whole <= memory_bytes() / 8
    divide_cache(4)
    assert cache_bytes() == pytest.approx(whole / 4, abs=4)
    with pytest.raises(ValueError, match="-1 bytes"):
        set_cache_bytes(-1)


def test_errors_name_the_array_and_the_way_out(tmp_path: Path, http_server: str) -> None:
    write(str(tmp_path / "v.zarr/labels/mito"), attributes={})
    write(str(tmp_path / "text"), np.zeros((2, 2, 2), "datetime64[s]").view("M8[s]").astype("c8"))
    write(str(tmp_path / "five"), np.zeros((2, 3, 2, 2, 2), np.uint8))
    write(str(tmp_path / "zyy"), attributes={"axis_names": ["z", "y", "y"]})
    zarr.open_group(str(tmp_path / "v.zarr/labels"), mode="a")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/zarr.json").write_text('{"zarr_format": 3, "node_ty')
    (tmp_path / "file").write_text("no folder")
    cases: list[tuple[str, str, type[Exception], str]] = [
        (str(tmp_path / "v.zarr"), "nothing", FileNotFoundError, "no zarr array.* at .*nothing"),
        (f"{http_server}/v.zarr", "nothing", FileNotFoundError, "no zarr array.* at http"),
        ("http://127.0.0.1:9/v.zarr", "em", ArrayError, "127.0.0.1:9/v.zarr/em cannot be opened"),
        ("nosuch://v.zarr", "em", ArrayError, "nosuch://v.zarr/em cannot be opened"),
        (str(tmp_path / "v.zarr"), "labels", ArrayError, "is a group.*: mito"),
        (str(tmp_path / "v.zarr"), "labels/mito", ArrayError, "set voxel_size"),
        (
            str(tmp_path / "cut"),
            "",
            ArrayError,
            r"cut cannot be opened: .*cut/zarr\.json is not JSON",
        ),
        (str(tmp_path / "file"), "em", FileNotFoundError, "file/em; check file_name"),
        (str(tmp_path / "text"), "", ArrayError, "complex64, not numbers"),
        (str(tmp_path / "five"), "", ArrayError, r"shape \(2, 3, 2, 2, 2\)"),
        (str(tmp_path / "zyy"), "", ArrayError, "axes z, y, y"),
    ]
    for file_name, dataset, error, message in cases:
        with pytest.raises(error, match=message):
            ZarrArrayConfig(file_name=file_name, dataset=dataset).array()

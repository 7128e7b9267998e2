"""Zarr arrays of every format, at real URLs, and what is said when they cannot be used."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import FsspecStore

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
def http_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a real server of `tmp_path`."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


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


@pytest.mark.slow
@pytest.mark.s3
def test_an_object_store_with_storage_options(s3_server: Any) -> None:
    url, options = s3_server.new_folder(), s3_server.storage_options
    write(f"{url}/v.zarr/em", **options)
    array = ZarrArrayConfig(
        file_name=f"{url}/v.zarr", dataset="em", storage_options=options
    ).array()
    assert np.array_equal(array.read((0, 0, 0), (4, 6, 8)), DATA)


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


def test_large_arrays_are_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dacapo_core.experiments.datasplits.datasets.arrays import zarr_array

    monkeypatch.setattr(zarr_array, "KEPT_BYTES", 0)
    write(str(tmp_path / "em"), zarr_format=2)
    array = ZarrArrayConfig(file_name=str(tmp_path / "em")).array()
    # what is outside the box may be missing altogether
    (tmp_path / "em/1.2.3").write_bytes(b"damaged")
    assert np.array_equal(array.read((0, 0, 0), (2, 4, 6)), DATA[:2, :4, :6])
    with pytest.raises(ArrayError, match="em cannot be read"):
        array.read((0, 0, 0), (4, 6, 8))


def test_errors_name_the_array_and_the_way_out(tmp_path: Path, http_server: str) -> None:
    write(str(tmp_path / "v.zarr/labels/mito"), attributes={})
    write(str(tmp_path / "text"), np.zeros((2, 2, 2), "datetime64[s]").view("M8[s]").astype("c8"))
    write(str(tmp_path / "five"), np.zeros((2, 3, 2, 2, 2), np.uint8))
    write(str(tmp_path / "xyz"), attributes={"axis_names": ["x", "y", "z"]})
    zarr.open_group(str(tmp_path / "v.zarr/labels"), mode="a")
    (tmp_path / "old.n5/em").mkdir(parents=True)
    (tmp_path / "old.n5/em/attributes.json").write_text(json.dumps({"dimensions": [8, 6, 4]}))
    cases: list[tuple[str, str, type[Exception], str]] = [
        (str(tmp_path / "v.zarr"), "nothing", FileNotFoundError, "no zarr array at .*nothing"),
        (f"{http_server}/v.zarr", "nothing", FileNotFoundError, "no zarr array at http"),
        ("http://127.0.0.1:9/v.zarr", "em", ArrayError, "127.0.0.1:9/v.zarr/em cannot be opened"),
        ("nosuch://v.zarr", "em", ArrayError, "nosuch://v.zarr/em cannot be opened"),
        (str(tmp_path / "v.zarr"), "labels", ArrayError, "is a group.*: mito"),
        (str(tmp_path / "v.zarr"), "labels/mito", ArrayError, "set voxel_size"),
        (str(tmp_path / "old.n5"), "em", ArrayError, "is N5"),
        (str(tmp_path / "text"), "", ArrayError, "complex64, not numbers"),
        (str(tmp_path / "five"), "", ArrayError, r"shape \(2, 3, 2, 2, 2\)"),
        (str(tmp_path / "xyz"), "", ArrayError, "axes x, y, z"),
    ]
    for file_name, dataset, error, message in cases:
        with pytest.raises(error, match=message):
            ZarrArrayConfig(file_name=file_name, dataset=dataset).array()

"""N5 and neuroglancer precomputed volumes, and what their own metadata says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from fsspec import filesystem

from dacapo_core.experiments.datasplits.datasets.arrays import ZarrArrayConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError

DATA = np.arange(4 * 6 * 8, dtype=np.uint16).reshape(4, 6, 8)


def write_n5(
    folder: Path, attributes: dict[str, Any], data: np.ndarray = DATA, codec: str = "gzip"
) -> None:
    metadata = {
        "dataType": data.dtype.name,
        "dimensions": data.shape[::-1],
        "blockSize": [3] * data.ndim,
        "compression": {"type": codec},
    }
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "metadata": metadata,
    }
    ts.open(spec, create=True).result().T.write(data).result()
    add_attributes(folder, attributes)


def add_attributes(folder: Path, attributes: dict[str, Any]) -> None:
    """As hand-made metadata: beside what the writer left."""
    file = folder / "attributes.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, **attributes}))


def write_precomputed(folder: Path, data: np.ndarray = DATA, **scale: Any) -> None:
    """Another scale of the volume in `folder`; `data` is ``([channels,] z, y, x)``."""
    channels = data.shape[0] if data.ndim == 4 else 1
    values = (data if data.ndim == 4 else data[None]).T
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "multiscale_metadata": {
            "type": "image",
            "data_type": data.dtype.name,
            "num_channels": channels,
        },
        "scale_metadata": {
            "size": values.shape[:3],
            "encoding": "raw",
            "chunk_size": [4, 4, 2],
            **scale,
        },
    }
    store = ts.open(spec, create=True).result()
    store[ts.d[:].translate_to[0]].write(values).result()


def read(file_name: str | Path, dataset: str = "", **options: Any) -> Any:
    array = ZarrArrayConfig(
        file_name=str(file_name), dataset=dataset, storage_options=options
    ).array()
    assert np.array_equal(array.read((1, 2, 3), (3, 6, 8)), DATA[1:3, 2:6, 3:8])
    assert array.shape == DATA.shape
    assert array.dtype == DATA.dtype
    return array


@pytest.mark.parametrize(
    ("attributes", "size", "offset"),
    [
        ({"resolution": [4, 5, 40], "offset": [8, 15, 80]}, (40, 5, 4), (80, 15, 8)),
        ({"resolution": [4, 5, 40], "units": ["", "nm", "nm"]}, (40, 5, 4), (0, 0, 0)),
        ({"resolution": [0.004, 0.005, 0.04], "units": ["um"] * 3}, (40, 5, 4), (0, 0, 0)),
        ({"pixelResolution": {"dimensions": [4, 5, 40], "unit": "nm"}}, (40, 5, 4), (0, 0, 0)),
        ({"pixelResolution": [4, 5, 40]}, (40, 5, 4), (0, 0, 0)),
        (
            {"pixelResolution": [2, 2.5, 20], "downsamplingFactors": [2, 2, 2]},
            (40, 5, 4),
            (0, 0, 0),
        ),
        ({"axes": ["x", "y", "z"], "resolution": [4, 5, 40]}, (40, 5, 4), (0, 0, 0)),
        (
            {
                "pixelResolution": {"dimensions": [1, 1, 1], "unit": "nm"},
                "transform": {
                    "axes": ["z", "y", "x"],
                    "scale": [40, 5, 4],
                    "translate": [20, 2.5, 2],
                    "units": ["nm"] * 3,
                },
            },
            (40, 5, 4),
            (0, 0, 0),
        ),
    ],
)
def test_n5_counts_x_first(
    tmp_path: Path, attributes: dict[str, Any], size: Any, offset: Any
) -> None:
    write_n5(tmp_path / "v.n5/em/s0", attributes)
    array = read(tmp_path / "v.n5", "em/s0")
    assert array.voxel_size == pytest.approx(size)
    assert array.offset == pytest.approx(offset)


@pytest.mark.parametrize(
    ("level", "group", "size", "offset"),
    [
        # paintera: the group has the place of its finest scale
        (
            {"downsamplingFactors": [2, 2, 1]},
            {"multiScale": True, "resolution": [4, 5, 40], "offset": [8, 15, 80]},
            (40, 10, 8),
            (80, 15, 8),
        ),
        # n5-viewer and neuroglancer: the group lists the factors of its scales
        (
            {},
            {"pixelResolution": {"dimensions": [0.004, 0.005, 0.04], "unit": "um"}}
            | {"scales": [[1, 1, 1], [2, 2, 1]]},
            (40, 10, 8),
            (0, 0, 0),
        ),
        (
            {},
            {"resolution": [4, 5, 40], "units": ["nm"] * 3}
            | {"downsamplingFactors": [[1, 1, 1], [4, 4, 2]]},
            (80, 20, 16),
            (0, 0, 0),
        ),
        # cellmap
        (
            {},
            {
                "multiscales": [
                    {
                        "datasets": [
                            {
                                "path": "s1",
                                "transform": {
                                    "axes": ["z", "y", "x"],
                                    "scale": [80, 10, 8],
                                    "translate": [40, 5, 4],
                                    "units": ["nm", "nm", "nm"],
                                },
                            }
                        ]
                    }
                ]
            },
            (80, 10, 8),
            (0, 0, 0),
        ),
    ],
)
def test_a_group_says_where_its_n5_scales_are(
    tmp_path: Path, level: dict[str, Any], group: dict[str, Any], size: Any, offset: Any
) -> None:
    write_n5(tmp_path / "v.n5/em/s1", level)
    add_attributes(tmp_path / "v.n5/em", group)
    array = read(tmp_path / "v.n5", "em/s1")
    assert array.voxel_size == pytest.approx(size)
    assert array.offset == pytest.approx(offset)


def test_channels_come_first_in_either_format(tmp_path: Path) -> None:
    data = np.stack([DATA, DATA + 1])
    write_n5(tmp_path / "n5", {"resolution": [4, 4, 40]}, data)
    write_precomputed(tmp_path / "pre", data, resolution=[4, 4, 40])
    for name in ("n5", "pre"):
        array = ZarrArrayConfig(file_name=str(tmp_path / name)).array()
        assert array.num_channels == 2
        assert array.shape == DATA.shape
        assert array.voxel_size == (40, 4, 4)
        assert np.array_equal(array.read((1, 0, 3), (4, 6, 8)), data[:, 1:4, :, 3:8])


def test_a_precomputed_scale_has_its_size_and_place(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "em", resolution=[4, 5, 40], voxel_offset=[10, 20, 3])
    array = read(tmp_path / "em")
    assert array.voxel_size == (40, 5, 4)
    assert array.offset == (120, 100, 40)
    write_precomputed(tmp_path / "em", resolution=[8, 10, 40])
    assert read(tmp_path / "em", "8_10_40").voxel_size == (40, 10, 8)
    assert read(tmp_path / "em", "4_5_40").offset == (120, 100, 40)
    with pytest.raises(ArrayError, match="2 scales; give one as dataset: 4_5_40, 8_10_40"):
        read(tmp_path / "em")
    with pytest.raises(ArrayError, match="em is a precomputed volume without scale s0; it has 4_5"):
        read(tmp_path / "em", "s0")


def test_labels_of_a_segmentation(tmp_path: Path) -> None:
    ids = DATA.astype(np.uint64) + np.uint64(2**63)
    write_precomputed(
        tmp_path / "seg",
        ids,
        resolution=[8, 8, 8],
        encoding="compressed_segmentation",
        compressed_segmentation_block_size=[8, 8, 8],
    )
    array = ZarrArrayConfig(file_name=str(tmp_path / "seg")).array()
    assert np.array_equal(array.read((0, 0, 0), DATA.shape), ids)


@pytest.mark.slow
@pytest.mark.s3
def test_both_are_read_from_servers(tmp_path: Path, s3_server: Any, http_server: str) -> None:
    write_n5(tmp_path / "v.n5/em/s0", {})
    add_attributes(tmp_path / "v.n5", {"pixelResolution": {"dimensions": [4, 4, 4], "unit": "nm"}})
    write_precomputed(tmp_path / "pre", resolution=[4, 4, 4])
    url, options = s3_server.new_folder(), s3_server.storage_options
    filesystem("s3", **options).put(f"{tmp_path}/", f"{url}/", recursive=True)
    in_client = {**options, "client_kwargs": {"endpoint_url": options["endpoint_url"]}}
    del in_client["endpoint_url"]
    for place, given in ((url, options), (url, in_client), (http_server, {})):
        assert read(f"{place}/v.n5", "em/s0", **given).voxel_size == (4, 4, 4)
        assert read(f"{place}/pre", "4_4_4", **given).voxel_size == (4, 4, 4)
    for wrong in ({"secret": "other"}, {"anon": True}):
        with pytest.raises(
            ArrayError, match=r"em/s0 cannot be opened: .*credentials in storage_op"
        ):
            read(f"{url}/v.n5", "em/s0", **{**options, **wrong})
    with pytest.raises(FileNotFoundError, match=r"v.n5/em/s7"):
        read(f"{url}/v.n5", "em/s7", **options)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_n5(tmp_path / "v.n5/em", {"resolution": [4, 4, 4]})
    add_attributes(tmp_path / "v.n5", {"n5": "4.0.0"})
    with pytest.raises(ArrayError, match=r"v.n5 is a group, not an array.*: em"):
        read(tmp_path / "v.n5")
    # as N5 said it before its version 2
    add_attributes(tmp_path / "v.n5/em", {"compression": None, "compressionType": "gzip"})
    read(tmp_path / "v.n5", "em")
    add_attributes(tmp_path / "v.n5/em", {"compression": {"type": "lz4", "blockSize": 65536}})
    with pytest.raises(ArrayError, match=r"v.n5/em cannot be opened: .*lz4"):
        read(tmp_path / "v.n5", "em")
    filesystem("memory").put(f"{tmp_path}/v.n5/", "memory://of-fsspec/", recursive=True)
    with pytest.raises(ArrayError, match=r"memory://of-fsspec/em is n5, .* convert it to zarr"):
        read("memory://of-fsspec", "em")

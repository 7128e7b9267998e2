"""How raw data is looked at: what of it, how much, and what is said where that fails."""

from __future__ import annotations

import functools
import http.server
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts

from dacapo_core.data.bytes_read import bytes_read
from dacapo_core.data.intensity_range import Intensities
from dacapo_core.data.intensity_sample import find_intensities
from dacapo_core.experiments.datasplits import RawGTDatasetConfig
from dacapo_core.experiments.datasplits.datasets.arrays import ZarrArrayConfig
from dacapo_core.experiments.datasplits.datasets.arrays.array import ArrayError
from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset

VOXEL = 8.0


def write(
    file: Path, shape: tuple[int, ...], dtype: str, chunk: int, **parts: Any
) -> ts.TensorStore:
    spec: Any = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(file)},
        "metadata": {
            "shape": shape,
            "chunks": [chunk] * 3,
            "dtype": np.dtype(dtype).str,
            "compressor": None,
            **parts,
        },
    }
    return ts.open(spec, create=True).result()


def volume(folder: Path, raw: str, *, offset: float = 0.0, **values: Any) -> RawGTDataset:
    """Raw data of `folder`, of which the labels cover 64³ voxels from `offset` on."""
    labels = folder / "labels"
    if not labels.exists():
        write(labels, (64, 64, 64), "u1", 64)
    where = {"voxel_size": (VOXEL,) * 3}
    return RawGTDatasetConfig.model_validate(
        {
            "name": values.pop("name", raw),
            "raw_config": {"file_name": str(folder / raw), **where},
            "gt_config": {
                "type": "zarr",
                "file_name": str(labels),
                "channels": ["mito"],
                "offset": (offset * VOXEL,) * 3,
                **where,
            },
            **values,
        }
    ).dataset()


def camera(shape: tuple[int, ...], low: int = 1000, high: int = 3000) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, shape).astype(np.uint16)


def test_ten_terabytes_cost_little_wherever_the_data_is(tmp_path: Path) -> None:
    size = 17_100
    store = write(tmp_path / "raw", (size, size, size), "u2", 128)
    assert store.size * 2 > 10e12 - 1e11
    for at in (0, 6400):
        here = slice(at, at + 128)
        store[here, here, here] = camera((128, 128, 128))
    whole = RawGTDatasetConfig.model_validate(
        {
            "name": "whole",
            "raw_config": {"file_name": str(tmp_path / "raw"), "voxel_size": (VOXEL,) * 3},
            "gt_config": {
                "type": "zarr",
                "file_name": str(tmp_path / "raw"),
                "voxel_size": (VOXEL,) * 3,
                "channels": ["mito"],
            },
        }
    ).dataset()
    # two crops in it, and the rest of it absent
    crops = [volume(tmp_path, "raw", offset=at, name=f"crop_{at}") for at in (30, 6430)]
    before, began = bytes_read(), time.monotonic()
    found = find_intensities(crops)
    assert found.ranges[str(tmp_path / "raw")] == pytest.approx((1010, 2990), abs=10)
    # of all of it, two chunks are not met by chance
    assert find_intensities([whole]).ranges[str(tmp_path / "raw")] == pytest.approx(
        (1010, 2990), abs=10
    )
    with pytest.raises(ArrayError, match=r"nothing but 0 where it was looked at"):
        find_intensities([volume(tmp_path, "raw", offset=3000)])
    assert bytes_read() - before < 2 * 2 * 128**3 + 2**20
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("compressor", [None, {"id": "lz4"}], ids=["tensorstore", "zarr-python"])
def test_no_more_bytes_are_read_than_allowed(tmp_path: Path, compressor: Any) -> None:
    shape = (64, 256, 256)
    if compressor is None:
        write(tmp_path / "raw", shape, "u2", 32)[...] = camera(shape)
    else:
        import numcodecs
        import zarr

        zarr.create_array(
            tmp_path / "raw",
            data=camera(shape),
            chunks=(32, 32, 32),
            zarr_format=2,
            compressors=numcodecs.LZ4(),
        )
    dataset = volume(tmp_path, "raw", name="v")
    wide = RawGTDataset("v", dataset.raw, dataset.labels)
    wide.begin, wide.end = (0, 0, 0), shape
    chunk = 2 * 32**3
    looked_at: list[Any] = []
    read = wide.raw.read
    wide.raw.read = lambda begin, end: looked_at.append((begin, end)) or read(begin, end)  # type: ignore[method-assign]
    before = bytes_read()
    found = find_intensities([wide], most_bytes=5 * chunk)
    assert found.ranges[wide.raw.name] == pytest.approx((1010, 2990), abs=10)
    assert 1 <= len(looked_at) <= 5
    assert bytes_read() - before <= 5 * chunk + 2**10


def test_a_chunk_larger_than_what_is_allowed_is_read_all_the_same(tmp_path: Path) -> None:
    write(tmp_path / "raw", (64, 64, 64), "u2", 64)[...] = camera((64, 64, 64))
    found = find_intensities([volume(tmp_path, "raw")], most_bytes=1)
    assert found.ranges[str(tmp_path / "raw")] == pytest.approx((1010, 2990), abs=10)


def test_the_same_data_gives_the_same_range(tmp_path: Path) -> None:
    write(tmp_path / "raw", (128, 128, 128), "f4", 32)[...] = np.random.default_rng(1).random(
        (128, 128, 128), np.float32
    )
    once, again = (find_intensities([volume(tmp_path, "raw", offset=30)]) for _ in range(2))
    assert once == again


def test_padding_is_not_the_data(tmp_path: Path) -> None:
    # one corner in a thousand of the labelled part was imaged
    store = write(tmp_path / "raw", (640, 640, 640), "u2", 32)
    store[:64, :64, :64] = camera((64, 64, 64))
    write(tmp_path / "truth", (640, 640, 640), "u1", 64)
    config = {"voxel_size": (VOXEL,) * 3}
    dataset = RawGTDatasetConfig.model_validate(
        {
            "name": "v",
            "raw_config": {"file_name": str(tmp_path / "raw"), **config},
            "gt_config": {
                "type": "zarr",
                "file_name": str(tmp_path / "truth"),
                "channels": ["m"],
                **config,
            },
        }
    ).dataset()
    assert find_intensities([dataset]).ranges[dataset.raw.name] == pytest.approx(
        (1010, 2990), abs=10
    )


def test_constant_raw_data_is_named_with_the_way_out(tmp_path: Path) -> None:
    write(tmp_path / "blank", (128, 128, 128), "u2", 32)[...] = 7
    write(tmp_path / "raw", (64, 64, 64), "u2", 32)[...] = camera((64, 64, 64))
    says = r"volume 'b': raw data \S*blank is constant: .* nothing but 7 .*set intensity_range"
    with pytest.raises(ArrayError, match=says):
        find_intensities([volume(tmp_path, "raw"), volume(tmp_path, "blank", name="b")])
    given = volume(tmp_path, "blank", intensity_range=(0, 9))
    assert find_intensities([given]) == Intensities()
    assert given.scaled(Intensities({given.raw.name: (3, 4)})).intensity_range == (0, 9)


def test_only_what_is_labelled_is_looked_at(tmp_path: Path) -> None:
    store = write(tmp_path / "raw", (64, 64, 256), "u2", 32)
    store[...] = camera((64, 64, 256))
    store[..., 64:] = 60_000 + camera((64, 64, 192), 0, 5)
    found = find_intensities([volume(tmp_path, "raw")])
    assert found.ranges[str(tmp_path / "raw")] == pytest.approx((1010, 2990), abs=10)


def test_raw_data_that_does_not_come_in_time_is_named(tmp_path: Path) -> None:
    write(tmp_path / "raw", (64, 64, 64), "u2", 64)[...] = camera((64, 64, 64))
    ends = threading.Event()

    class Stalled(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("0.0.0"):
                ends.wait()
            super().do_GET()

        def log_message(self, *args: Any) -> None:
            pass

    handler = functools.partial(Stalled, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        array = ZarrArrayConfig(
            file_name=f"http://127.0.0.1:{server.server_port}/raw", voxel_size=(VOXEL,) * 3
        ).array()
        labels = volume(tmp_path, "raw").labels
        try:
            with pytest.raises(ArrayError, match=r"raw data \S*raw was not read in time.* set int"):
                find_intensities([RawGTDataset("v", array, labels)], most_seconds=0.3)
        finally:
            ends.set()
            server.shutdown()


def test_raw_data_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "raw", (64, 64, 64), "u2", 64)[...] = camera((64, 64, 64))
    (tmp_path / "raw/0.0.0").write_bytes(b"cut off")
    with pytest.raises(ArrayError, match=r"\S*raw cannot be read"):
        find_intensities([volume(tmp_path, "raw")])


def test_volumes_of_other_scales_have_a_range_each(tmp_path: Path) -> None:
    write(tmp_path / "a", (64, 64, 64), "u2", 32)[...] = camera((64, 64, 64))
    write(tmp_path / "b", (64, 64, 64), "u2", 32)[...] = camera((64, 64, 64), 1100, 3300)
    write(tmp_path / "c", (64, 64, 64), "f4", 32)[...] = camera((64, 64, 64)) / np.float32(1e6)
    a, b, c = (volume(tmp_path, name) for name in "abc")
    near, far = find_intensities([a, b]), find_intensities([a, b, c])
    assert near.ranges[a.raw.name] == near.ranges[b.raw.name]
    assert len({far.ranges[each.raw.name] for each in (a, b, c)}) == 3
    assert far.ranges[c.raw.name] == pytest.approx((0.00101, 0.00299), abs=1e-5)

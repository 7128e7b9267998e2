"""Milliseconds a crop: a volume streamed through the cache ÷ the same by zarr-python.

``python tests/benchmarks/reading.py``. Crops of 152³ at random from 512³ `uint8`, chunks of 64³,
zstd, on local disk with a warm page cache; one thread. The two take turns on the same boxes, so
that other load hits both alike. Pass 1 decodes most chunks that it meets, pass 2 finds them in the
cache. Targets: below 0.7, then below 0.2.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

from dacapo_core.data.chunk_cache import cache_bytes, set_cache_bytes
from dacapo_core.experiments.datasplits.datasets.arrays import ZarrArrayConfig

SIZE, CHUNK, CROP = 512, 64, 152
CROPS = 24


def main() -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "em.zarr")
        stored = zarr.create_array(
            path, shape=(SIZE,) * 3, chunks=(CHUNK,) * 3, dtype="uint8", zarr_format=2
        )
        coarse = rng.integers(0, 255, (SIZE // 8,) * 3, np.uint8)
        for z in range(0, SIZE, CHUNK):
            # smooth and noisy, as sections of tissue are
            slab = coarse[z // 8 : (z + CHUNK) // 8]
            for axis in range(3):
                slab = slab.repeat(8, axis)
            stored[z : z + CHUNK] = slab // 2 + rng.integers(0, 40, slab.shape, np.uint8)
        stored.attrs["voxel_size"] = [4, 4, 4]
        begins = rng.integers(0, SIZE - CROP, (CROPS, 3))
        set_cache_bytes(max(cache_bytes(), 2 * SIZE**3))
        ours = ZarrArrayConfig(file_name=path).array()
        bare = zarr.open_array(path, mode="r")
        for number in (1, 2):
            streamed, plain = [], []
            for z, y, x in begins.tolist():
                start = time.perf_counter()
                one = ours.read((z, y, x), (z + CROP, y + CROP, x + CROP))
                between = time.perf_counter()
                other = bare[z : z + CROP, y : y + CROP, x : x + CROP]
                plain.append(time.perf_counter() - between)
                streamed.append(between - start)
                assert np.array_equal(one, other)
            ours_ms, bare_ms = (1e3 * statistics.mean(each) for each in (streamed, plain))
            print(
                f"pass {number}: {ours_ms:.2f} ms streamed, {bare_ms:.2f} ms by zarr-python, "
                f"ratio {ours_ms / bare_ms:.2f}"
            )


if __name__ == "__main__":
    main()

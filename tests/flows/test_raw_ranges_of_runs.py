"""What becomes of raw data, from the first line of the log to the exported weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts import StartConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from flows.finetune import finetune
from flows.train import train
from tests.camera_volumes import datasplit, twelve_bits, write_raw, write_volume
from tests.small_run import small_run

pytestmark = [pytest.mark.slow, pytest.mark.prefect]


def test_the_range_of_a_run_is_found_once_and_used_by_all_that_follow(
    prefect_server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volumes = [write_volume(tmp_path, name, seed) for seed, name in enumerate(["a", "b"])]
    values = RunConfig.model_validate(
        {
            **small_run("base", 2, 2),
            "task_config": {"type": "one_hot", "channels": ["mito"], "thresholds": [0.5]},
            "datasplit_config": datasplit(volumes[:1], volumes[1:]),
        }
    )
    place = tmp_path / "store"
    train(values, str(place))
    store = LocalWeightsStore(place)
    kept = store.intensities("base")
    assert kept is not None
    (found,) = set(kept.ranges.values())
    assert 1000 < found[0] < 1500 < 2500 < found[1] < 3000
    line = f"raw data: {found[0]:,.0f} to {found[1]:,.0f} become -1 to 1 in all 2 volumes"
    assert caplog.text.count(line) == 1
    caplog.clear()

    # another process judges, and the data has changed: what was kept holds
    (before,) = store.scores("base")
    raw = zarr.open_array(tmp_path / "a_raw")[...]
    write_raw(tmp_path, "a", (raw * 1.9).astype(np.uint16))
    code = f"from flows.validate import validate; validate('base', [2], {str(place)!r})"
    server = os.environ | {"PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(tmp_path)}
    judged = subprocess.run(
        [sys.executable, "-c", code], env=server, capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stderr
    (after,) = store.scores("base")
    assert after.scored > before.scored
    assert after.entries == before.entries
    longer = values.model_copy(update={"num_iterations": 4})
    train(longer, str(place))
    assert store.intensities("base") == kept
    assert caplog.text.count(line) == 1

    # a run that starts from it finds its own, and is offered that
    child = values.model_copy(
        update={
            "name": "child",
            "datasplit_config": RunConfig.model_validate(
                {"datasplit_config": datasplit(*[[write_volume(tmp_path, "c", 2, brighter)]] * 2)}
            ).datasplit_config,
            "start_config": StartConfig(run="base", criterion="latest"),
        }
    )
    finetune(child, None, str(place))
    own = store.intensities("child")
    assert own is not None
    assert set(own.ranges.values()) != {found}
    offer = f"intensity_range: [{found[0]:.0f}, {found[1]:.0f}] takes that range here"
    (record,) = [each for each in caplog.records if offer in each.message]
    assert record.levelname == "WARNING"
    assert "times the narrower of the two" in record.message

    file = tmp_path / "weights.pt"
    arguments = ["--store", str(place), "export", "child", "latest", str(file)]
    exported = subprocess.run(
        [str(Path(sys.executable).parent / "dacapo-store"), *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "become -1 to 1" in exported.stdout
    beside = json.loads(Path(f"{file}.json").read_text())
    assert beside["intensity_ranges"] == own.to_json()["ranges"]


def brighter(raw: np.ndarray) -> np.ndarray:
    return twelve_bits(raw) * 10

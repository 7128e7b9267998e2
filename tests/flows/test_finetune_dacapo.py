"""Fine-tuning from the checkpoints of DaCapo 0.3.5 and of its main branch, through the flow."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts import LoadingReport
from dacapo_core.store.local_weights_store import LocalWeightsStore
from flows.finetune import finetune

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

State = dict[str, torch.Tensor]


@pytest.fixture
def parent(shared: Path, tmp_path: Path) -> Path:
    """A store that DaCapo 0.3.5 wrote; a copy, because a start is pinned."""
    written = shared / "stores" / "dacapo-0.3.5"
    if not written.is_dir():
        pytest.skip("shared/stores/dacapo-0.3.5 is not here")
    return Path(shutil.copytree(written, tmp_path / "dacapo", symlinks=True))


def as_main_writes_it(state: State) -> State:
    """DaCapo's main branch holds a body as ``chain.0.*``, and its head twice, as 0.3.5 does."""
    body = {
        key.replace("architecture.unet.", "chain.0."): value
        for key, value in state.items()
        if key.startswith("architecture.unet.")
    }
    head = {
        key: value for key, value in state.items() if key.startswith(("prediction_head", "chain.1"))
    }
    return body | head


def child(parent: Path, **start: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "child",
            "num_iterations": 1,
            "num_workers": 0,
            "architecture_config": {
                "type": "cnnectome_unet",
                "input_shape": [20, 20, 20],
                "eval_shape_increase": [24, 24, 24],
                "num_fmaps": 2,
                "fmaps_out": 4,
                "downsample_factors": [[2, 2, 2]],
                "upsample_factors": [[2, 2, 2]],
            },
            "task_config": {"type": "distance", "channels": ["er", "mito"], "thresholds": [0.0]},
            "datasplit_config": {
                "type": "synthetic",
                "shape": [24, 24, 24],
                "num_train": 1,
                "label_scale": [2, 2, 2],
            },
            "start_config": {
                "type": "run",
                "run": "tiny_run",
                "criterion": "val_a/dice",
                "store_url": str(parent),
                "channels": ["mito", "er"],
                **start,
            },
        }
    )


@pytest.mark.parametrize("layout", ["0.3.5", "main"])
def test_each_of_dacapos_layouts_loads_in_full(
    layout: str, prefect_server: str, tmp_path: Path, parent: Path
) -> None:
    state = LocalWeightsStore(parent).retrieve_model("tiny_run", 2000)
    kept = {key: value.clone() for key, value in state.items()}
    if layout == "main":
        kept = as_main_writes_it(kept)
        file = parent / "tiny_run" / "checkpoints" / "iterations" / "2000"
        torch.save({"model": kept, "optimizer": {}}, file)
    finetune(child(parent, policy="strict"), None, str(tmp_path / "runs"))
    report = LoadingReport.model_validate(
        LocalWeightsStore(tmp_path / "runs").start_report("child")
    )
    assert report.share_loaded == 1
    assert report.iteration == 2000
    assert not report.left_over
    assert [row.source for row in report.head_rows] == [1, 0]
    assert bool(report.renamed) is (layout == "main")
    assert {report.renamed.get(key, key) for key in report.loaded} <= set(kept)
    assert LocalWeightsStore(parent).pins("tiny_run") == {}

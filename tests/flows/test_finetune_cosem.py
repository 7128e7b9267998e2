"""Fine-tuning a published network from end to end: HTTP → store → model → training → best, pruned.

The checkpoint has COSEM's layout and depth and is made by cellmap-models' own network, with a
twelfth of the published feature maps.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts import LoadingReport
from dacapo_core.experiments.starts.cosem_catalogue import cosem_architecture
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy
from dacapo_core.train import train_until
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import validate_iteration
from flows.finetune import finetune

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

State = dict[str, torch.Tensor]
INPUT = 198
OUTPUT = 32
CHANNELS = ["mito", "er_mem", "er"]
# row of the child's head → row of setup28's, which predicts er and er_mem
MATCHED = {1: 1, 2: 0}


@pytest.fixture(scope="module")
def theirs() -> State:
    """What cellmap-models calls a published network's weights."""
    cellmap = pytest.importorskip("cellmap_models.pytorch.cosem.load_model")
    parameters = dict(vars(importlib.import_module("cellmap_models.pytorch.cosem.setup28.model")))
    parameters |= {
        "feature_widths_down": [1, 6, 36, 216],
        "feature_widths_up": [6, 6, 36, 216],
        "final_feature_width": 6,
    }
    torch.manual_seed(5)
    return dict(cellmap.Architecture(SimpleNamespace(**parameters)).state_dict())


@pytest.fixture
def mirror(theirs: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An HTTP server that has the checkpoint; yields the paths that were asked for."""
    state: State = {}
    for key, value in theirs.items():
        body = key.removeprefix("backbone.")
        if key.startswith("backbone."):
            state |= {f"architecture.unet.{body}": value, f"chain.0.unet.{body}": value}
        else:
            state |= {key: value, key.replace("prediction_head", "chain.1"): value}
    assert len(state) == 84
    (tmp_path / "mirror" / "setup28").mkdir(parents=True)
    torch.save({"model": state}, tmp_path / "mirror" / "setup28" / "1440000")
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            asked.append(f"{self.command} {self.path}")

    handler = functools.partial(Handler, directory=str(tmp_path / "mirror"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("DACAPO_COSEM_URL", f"http://127.0.0.1:{server.server_port}")
    yield asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def child(tmp_path: Path) -> RunConfig:
    """A run on a volume of one patch: raw data of 8 nm, labels of 4 nm in its middle."""
    rng = np.random.default_rng(0)
    raw = np.kron(rng.integers(0, 255, (INPUT // 6,) * 3, np.uint8), np.ones((6,) * 3, np.uint8))
    truth = np.kron(rng.integers(0, 4, (OUTPUT // 8,) * 3, np.uint8), np.ones((8,) * 3, np.uint8))
    begin = (INPUT - OUTPUT // 2) // 2
    for name, data, voxel, offset in (("raw", raw, 8, 0), ("truth", truth, 4, begin * 8)):
        array = zarr.create_array(str(tmp_path / "cell.zarr" / name), data=data)
        array.attrs.update({"voxel_size": [voxel] * 3, "offset": [offset] * 3})

    def array_of(name: str) -> dict[str, Any]:
        return {"type": "zarr", "file_name": str(tmp_path / "cell.zarr"), "dataset": name}

    volume = {
        "name": "cell",
        "raw_config": array_of("raw"),
        "gt_config": {
            "type": "binarize",
            "source_array_config": array_of("truth"),
            "groupings": {"mito": [1], "er": [2, 3], "er_mem": [3]},
        },
    }
    return RunConfig.model_validate(
        {
            "name": "child",
            "num_iterations": 2,
            "validation_interval": 1,
            "num_workers": 0,
            "learning_rate": 1e-3,
            "architecture_config": cosem_architecture("setup28", (INPUT,) * 3, num_fmaps=1),
            "task_config": {
                "type": "distance",
                "channels": CHANNELS,
                "thresholds": [0.0],
                "mask_distances": False,
            },
            "datasplit_config": {
                "type": "train_validate",
                "train_configs": [volume],
                "validate_configs": [volume],
            },
            "start_config": {"type": "cosem", "run": "setup28", "criterion": "1440000"},
        }
    )


def loaded_by_hand(child: RunConfig, theirs: State) -> Run:
    """The run before its first step, without any code of ours for starts."""
    run = Run(child)
    state = run.model.state_dict()
    for key, value in theirs.items():
        if key.startswith("backbone."):
            state[key.replace("backbone.", "architecture.unet.")].copy_(value)
        else:
            for row, source in MATCHED.items():
                state[key][row].copy_(value[source])
    return run


def test_a_published_checkpoint_is_fetched_matched_trained_judged_and_pruned(
    prefect_server: str, tmp_path: Path, mirror: list[str], theirs: State, child: RunConfig
) -> None:
    done = finetune(child, None, str(tmp_path / "runs"), RetentionPolicy(keep_last=1))
    store = LocalWeightsStore(tmp_path / "runs")

    report = LoadingReport.model_validate(store.start_report("child"))
    assert {row.row: row.source for row in report.head_rows} == {0: None, **MATCHED}
    assert report.body_share_loaded == 1
    assert not report.left_over
    assert (report.iteration, report.store_url) == (1440000, store.basedir)
    assert mirror.count("GET /setup28/1440000") == 1
    assert store.iterations("setup28") == [1440000]

    # the model that the flow judged and began to train with, bit for bit
    by_hand = loaded_by_hand(child, theirs)
    expected = validate_iteration(by_hand, by_hand.validation_datasets[0])
    scores = {record.iteration: record for record in store.scores("child")}
    assert scores[0].entries == expected.entries
    assert f"{CHANNELS[1]}__dice" in scores[0].entries[0].scores
    first = train_until(by_hand, 1)
    stats = store.training_stats("child")[0]
    assert (stats["loss"][0], stats["gradient_norm"][0]) == (
        first.losses[0],
        first.iteration_stats[0].gradient_norm,
    )

    assert set(scores) == {0, 1, 2}
    best = {record.iteration for record in store.best_records("child").values()}
    assert best <= {1, 2}
    assert set(store.iterations("child")) == {2} | best == set(done.kept)
    trained = store.retrieve_model("child", 2)
    head = "prediction_head.weight"
    assert not torch.equal(trained[head][1], theirs[head][1])

    page, table = newest_artifact("start-child"), newest_artifact("start-tensors-child")
    assert "| 1 | er_mem | row 1 |" in page
    assert "| 0 | mito | initialised anew |" in page
    assert table.count("architecture.unet") >= 40

    again = finetune(child, None, str(tmp_path / "runs"), RetentionPolicy(keep_last=1))
    assert again.was_complete
    assert mirror.count("GET /setup28/1440000") == 1


def newest_artifact(key: str) -> str:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    assert found, f"no artifact {key}"
    return str(max(found, key=lambda each: each.created).data)

"""The real dacapo-ml 0.3.5 reads our stores, and we read its."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.store.local_weights_store import LocalWeightsStore

DIGEST = """
import hashlib

def digest(model):
    state = hashlib.sha256()
    for key, value in model.items():
        state.update(key.encode())
        state.update(value.detach().contiguous().numpy().tobytes())
    return state.hexdigest()
"""

READ = (
    DIGEST
    + """
import json, sys, types
import torch
from dacapo.store.local_weights_store import LocalWeightsStore

basedir = sys.argv[1]
store = LocalWeightsStore(basedir)
weights = store.retrieve_weights("ours", 20)
model = torch.nn.Linear(3, 2)
run = types.SimpleNamespace(
    name="ours", model=model, optimizer=torch.optim.RAdam(model.parameters())
)
store.load_weights(run, 20)
# what Start does for its key <dataset>/<criterion>; 0.3.5 leaves weights_only to torch's default
start = torch.load(f"{basedir}/ours/checkpoints/val_a/dice", map_location="cpu")
key = store._retrieve_weights("ours", "val_a/dice")
print(json.dumps({
    "latest": store.latest_iteration("ours"),
    "best": store.retrieve_best("ours", "val_a", "dice"),
    "model": digest(weights.model),
    "loaded": digest(model.state_dict()),
    "steps": float(run.optimizer.state_dict()["state"][0]["step"]),
    "start": digest(start["model"]),
    "key": digest(key.model),
}))
"""
)

WRITE = (
    DIGEST
    + """
import json, pathlib, sys, types
import torch
from dacapo.store.local_weights_store import LocalWeightsStore

store = LocalWeightsStore(pathlib.Path(sys.argv[1]))
torch.manual_seed(3)
model = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3), torch.nn.Conv3d(4, 2, 1))
optimizer = torch.optim.RAdam(model.parameters())
run = types.SimpleNamespace(name="theirs", model=model, optimizer=optimizer)
written = {}
for iteration in (0, 500, 1000):
    model(torch.randn(1, 1, 5, 5, 5)).square().mean().backward()
    optimizer.step()
    store.store_weights(run, iteration)
    written[iteration] = digest(model.state_dict())
store.store_best("theirs", 500, "val_a", "dice")
store.store_best("theirs", 1000, "val_b", "voi")
print(json.dumps(written))
"""
)


def digest(model: dict[str, Any]) -> str:
    """As DIGEST has it on the other side."""
    state = hashlib.sha256()
    for key, value in model.items():
        state.update(key.encode())
        state.update(value.detach().contiguous().numpy().tobytes())
    return state.hexdigest()


def in_dacapo(python: Path, code: str, basedir: Path) -> Any:
    done = subprocess.run(
        [python, "-c", code, basedir], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


class LinearRun:
    name = "ours"

    def __init__(self) -> None:
        torch.manual_seed(5)
        self.model = torch.nn.Linear(3, 2)
        self.optimizer = torch.optim.RAdam(self.model.parameters())

    def step(self) -> None:
        self.model(torch.randn(4, 3)).square().mean().backward()
        self.optimizer.step()

    def extra_state(self) -> dict[str, Any]:
        return {"random": torch.get_rng_state()}


@pytest.mark.slow
@pytest.mark.dacapo
@pytest.mark.timeout(1800)
def test_dacapo_reads_what_we_write(local_store: LocalWeightsStore, dacapo_python: Path) -> None:
    run = LinearRun()
    digests = {}
    for iteration in (5, 10, 20):
        run.step()
        local_store.store_weights(run, iteration, wait=iteration != 10)
        digests[iteration] = digest(run.model.state_dict())
    local_store.store_best("ours", 10, "val_a", "dice")
    found = in_dacapo(dacapo_python, READ, Path(local_store.basedir))
    assert found == {
        "latest": 20,
        "best": 10,
        "model": digests[20],
        "loaded": digests[20],
        "steps": 3.0,
        "start": digests[10],
        "key": digests[10],
    }


@pytest.mark.slow
@pytest.mark.dacapo
@pytest.mark.timeout(1800)
def test_we_read_what_dacapo_writes(local_store: LocalWeightsStore, dacapo_python: Path) -> None:
    written = in_dacapo(dacapo_python, WRITE, Path(local_store.basedir))
    assert local_store.runs() == ["theirs"]
    assert local_store.iterations("theirs") == [0, 500, 1000]
    assert local_store.latest_iteration("theirs", verified=True) == 1000
    for iteration, expected in written.items():
        weights = local_store.retrieve_weights("theirs", int(iteration))
        assert digest(weights.model) == expected
        assert digest(local_store.retrieve_model("theirs", int(iteration))) == expected
        assert weights.optimizer["param_groups"]
    assert local_store.retrieve_best("theirs", "val_a", "dice") == 500
    assert local_store.retrieve_best("theirs", "val_b", "voi") == 1000


def test_stores_that_dacapo_wrote(shared: Path) -> None:
    store = LocalWeightsStore(shared / "stores/dacapo-0.3.5")
    assert store.runs() == ["best_removed", "legacy_dict", "tiny_run"]
    assert store.iterations("tiny_run") == [500, 1000, 2000, 10000]
    for run in store.runs():
        for iteration in store.iterations(run):
            assert store.verify(run, iteration).against == "zip checksums"
            weights = store.retrieve_weights(run, iteration)
            assert any(key.startswith("architecture.unet.") for key in weights.model)
            assert {"state", "param_groups"} <= weights.optimizer.keys()
    assert store.retrieve_best("tiny_run", "val_a", "dice") == 2000
    assert store.retrieve_best("tiny_run", "val_a", "voi") == 500
    assert store.retrieve_best("tiny_run", "val_b", "dice") == 10000
    with pytest.raises(FileNotFoundError):
        store.retrieve_best("best_removed", "val_a", "dice")

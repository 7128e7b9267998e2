"""Starting from a published network: fetched once, whole or not at all, and loaded by label."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.experiments.model import Model
from dacapo_core.experiments.starts import CosemStart, CosemStartConfig
from dacapo_core.experiments.starts.cosem_catalogue import CATALOGUE, cosem_architecture
from dacapo_core.experiments.starts.cosem_download import fetch_checkpoint
from dacapo_core.experiments.starts.download import Patience
from dacapo_core.experiments.starts.download_source import DownloadError
from dacapo_core.store.local_weights_store import LocalWeightsStore

CHECKPOINT = "/setup28/1440000"
QUICK = Patience(attempts=3, stall_seconds=0.5, backoff_seconds=0.01)
CHECK = (
    "from dacapo_core.experiments.starts import CosemStart, CosemStartConfig;"
    "CosemStart(CosemStartConfig('setup28', '1440000')).check()"
)


def network(setup: str, seed: int, channels: list[str] | None = None) -> Model:
    """The published network of a setup, a twelfth as wide."""
    torch.manual_seed(seed)
    config = cosem_architecture(setup, (198, 198, 198), num_fmaps=1)
    labels = channels or list(CATALOGUE[setup].channels)
    return Model(config.build(), torch.nn.Conv3d(config.fmaps_out, len(labels), 1), labels)


def published(model: Model, optimizer: bool = True) -> bytes:
    """A checkpoint file as COSEM's are: DaCapo 0.3.5's keys, each tensor twice."""
    state = dict(model.state_dict())
    for key in list(state):
        second = key.replace("architecture.", "chain.0.").replace("prediction_head.", "chain.1.")
        state[second] = state[key]
    content: dict[str, Any] = {"model": state}
    if optimizer:
        content["optimizer"] = torch.optim.RAdam(model.parameters()).state_dict()
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.fixture
def parent() -> Model:
    return network("setup28", seed=1)


@pytest.fixture
def store(
    tmp_path: Path, mirror: Any, parent: Model, monkeypatch: pytest.MonkeyPatch
) -> LocalWeightsStore:
    """An empty store, and a mirror that has one checkpoint."""
    monkeypatch.setenv("DACAPO_RUNS_BASE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("DACAPO_COSEM_URL", mirror.url)
    mirror.files[CHECKPOINT] = published(parent)
    return LocalWeightsStore(tmp_path / "store")


def names_in_iterations(store: LocalWeightsStore) -> list[str]:
    folder = Path(store.basedir) / "setup28" / "checkpoints" / "iterations"
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("optimizer", [True, False])
def test_a_published_checkpoint_is_fetched_once_and_matched_by_label(
    optimizer: bool, store: LocalWeightsStore, mirror: Any, parent: Model
) -> None:
    mirror.files[CHECKPOINT] = published(parent, optimizer)
    model = network("setup28", 2, ["er_mem", "golgi", "er"])
    before = model.prediction_head.weight.detach().clone()
    start = CosemStart(CosemStartConfig("setup28", "1440000"))
    report = start.initialize_weights(model, ["er_mem", "golgi", "er"])
    assert torch.equal(model.prediction_head.weight[0], parent.prediction_head.weight[1])
    assert torch.equal(model.prediction_head.weight[1], before[1])
    assert torch.equal(model.prediction_head.weight[2], parent.prediction_head.weight[0])
    assert torch.equal(model.prediction_head.bias[[0, 2]], parent.prediction_head.bias[[1, 0]])
    assert report.body_share_loaded == 1
    assert report.new_labels == ["golgi"]
    assert not report.left_over
    assert report.digest == f"sha256:{hashlib.sha256(mirror.files[CHECKPOINT]).hexdigest()}"
    start.check()
    assert len(mirror.gets) == 1
    assert names_in_iterations(store) == ["1440000"]
    assert store.latest_iteration("setup28") == 1440000
    stored = Path(store.basedir) / "setup28" / "checkpoints" / "iterations" / "1440000"
    assert (stored.read_bytes() == mirror.files[CHECKPOINT]) is optimizer
    assert store.retrieve_weights("setup28", 1440000).optimizer is not None


def test_the_digest_is_on_record_and_holds_for_the_next_download(
    store: LocalWeightsStore, mirror: Any
) -> None:
    fetch_checkpoint(store, "setup28", 1440000)
    record = Path(store.basedir) / "setup28" / "records" / "downloads" / "1440000.json"
    known = hashlib.sha256(mirror.files[CHECKPOINT]).hexdigest()
    assert json.loads(record.read_bytes())["sha256"] == known
    store.remove("setup28", 1440000, force=True)
    mirror.files[CHECKPOINT] = published(network("setup28", seed=9))
    with pytest.raises(DownloadError, match=known):
        fetch_checkpoint(store, "setup28", 1440000, patience=QUICK)
    assert names_in_iterations(store) == []


def test_a_digest_that_is_given_is_verified(store: LocalWeightsStore, mirror: Any) -> None:
    known = hashlib.sha256(mirror.files[CHECKPOINT]).hexdigest()
    with pytest.raises(DownloadError, match="0" * 64):
        CosemStart(CosemStartConfig("setup28", "1440000", sha256="0" * 64)).check()
    CosemStart(CosemStartConfig("setup28", "1440000", sha256=known)).check()
    assert names_in_iterations(store) == ["1440000"]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def without_model(_: bytes) -> bytes:
    file = io.BytesIO()
    torch.save({"weights": torch.ones(3)}, file)
    return file.getvalue()


def bomb(_: bytes) -> bytes:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, ("raise SystemExit",))

    file = io.BytesIO()
    torch.save({"model": Bomb(), "optimizer": {}}, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: b"not a checkpoint",
        lambda content: b"<!DOCTYPE html><html>please log in</html>",
        flipped,
        without_model,
        bomb,
    ],
)
def test_what_is_no_checkpoint_is_refused_and_nothing_is_stored(
    change: Any, store: LocalWeightsStore, mirror: Any, unchanged: Any, parent: Model
) -> None:
    mirror.files[CHECKPOINT] = change(mirror.files[CHECKPOINT])
    model = network("setup28", 2)
    still_the_same = unchanged(model)
    with pytest.raises(DownloadError, match="setup28/1440000"):
        CosemStart(CosemStartConfig("setup28", "1440000")).initialize_weights(model)
    assert still_the_same()
    assert names_in_iterations(store) == []
    assert store.latest_iteration("setup28") is None
    mirror.files[CHECKPOINT] = published(parent)
    mirror.etag = '"repaired"'
    CosemStart(CosemStartConfig("setup28", "1440000")).check()
    assert names_in_iterations(store) == ["1440000"]


@pytest.mark.parametrize("change", [lambda content: content[:5000], flipped])
def test_what_a_broken_download_of_dacapos_left_is_fetched_again(
    change: Any, store: LocalWeightsStore, mirror: Any, parent: Model
) -> None:
    stored = Path(store.basedir) / "setup28" / "checkpoints" / "iterations" / "1440000"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(change(mirror.files[CHECKPOINT]))
    model = network("setup28", 2)
    report = CosemStart(CosemStartConfig("setup28", "1440000")).initialize_weights(model)
    assert report.share_loaded == 1
    assert torch.equal(model.prediction_head.weight, parent.prediction_head.weight)
    assert stored.read_bytes() == mirror.files[CHECKPOINT]


def test_a_mirror_without_the_file_says_where_to_look(
    store: LocalWeightsStore, mirror: Any
) -> None:
    with pytest.raises(DownloadError) as error:
        CosemStart(CosemStartConfig("setup45", "625000")).check()
    for word in ("DACAPO_COSEM_URL", mirror.url, "setup45/checkpoints/iterations/625000"):
        assert word in str(error.value)


def test_callers_at_the_same_time_share_one_download(store: LocalWeightsStore, mirror: Any) -> None:
    mirror.seconds_per_chunk = 0.005
    problems: list[BaseException] = []

    def check() -> None:
        try:
            CosemStart(CosemStartConfig("setup28", "1440000")).check()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=check) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert len(mirror.gets) == 1
    assert names_in_iterations(store) == ["1440000"]


@pytest.mark.slow
def test_processes_share_one_download_and_one_that_is_killed_is_replaced(
    store: LocalWeightsStore, mirror: Any, parent: Model
) -> None:
    content = published(parent)
    mirror.seconds_per_chunk = 8 / (len(content) / (1 << 16))
    first = subprocess.Popen([sys.executable, "-c", CHECK])
    part = Path(store.basedir) / "setup28" / "checkpoints" / ".partial" / "download~1440000"
    wait_for(lambda: part.exists() and part.stat().st_size > len(content) // 10)
    others = [subprocess.Popen([sys.executable, "-c", CHECK]) for _ in range(2)]
    time.sleep(3)
    assert names_in_iterations(store) == []
    assert len(mirror.gets) == 1
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert [process.wait(timeout=120) for process in others] == [0, 0]
    assert len(mirror.gets) == 2
    begun = mirror.gets[1][1]
    assert begun is not None
    assert int(begun.removeprefix("bytes=").rstrip("-")) > len(content) // 10
    assert names_in_iterations(store) == ["1440000"]
    assert not list(part.parent.iterdir())


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_mirror_may_be_a_folder(
    store: LocalWeightsStore, parent: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror" / "setup28").mkdir(parents=True)
    (tmp_path / "mirror" / "setup28" / "1440000").write_bytes(published(parent))
    monkeypatch.setenv("DACAPO_COSEM_URL", f"file://{tmp_path}/mirror")
    CosemStart(CosemStartConfig("setup28", "1440000")).check()
    assert names_in_iterations(store) == ["1440000"]


@pytest.mark.usefixtures("store")
def test_a_store_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mirror: Any) -> None:
    url = f"memory://{tmp_path.name}"
    monkeypatch.setenv("DACAPO_RUNS_BASE_DIR", url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mirror.faults = [("cut", 100_000)]
    CosemStart(CosemStartConfig("setup28", "1440000")).check()
    assert LocalWeightsStore(url).latest_iteration("setup28") == 1440000
    assert not [file for file in tmp_path.rglob("*download*") if file.is_file()]


@pytest.mark.s3
@pytest.mark.slow
def test_a_store_and_a_mirror_on_s3(
    store: LocalWeightsStore,
    s3_server: Any,
    mirror: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    parent: Model,
) -> None:
    import fsspec

    bucket, mirrored = s3_server.new_folder(), s3_server.new_folder()
    with fsspec.open(f"{mirrored}/setup28/1440000", "wb", **s3_server.storage_options) as file:
        file.write(published(parent))
    monkeypatch.setenv("DACAPO_RUNS_BASE_DIR", bucket)
    monkeypatch.setenv("DACAPO_STORAGE_OPTIONS", json.dumps(s3_server.storage_options))
    monkeypatch.setenv("DACAPO_COSEM_URL", mirrored)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = network("setup28", 2)
    report = CosemStart(CosemStartConfig("setup28", "1440000")).initialize_weights(model)
    assert report.share_loaded == 1
    assert not mirror.gets
    missing = CosemStart(CosemStartConfig("setup28", "775000"))
    with pytest.raises(DownloadError, match="775000"):
        missing.check()


@pytest.mark.slow
def test_a_checkpoint_of_cellmap_models_own_network(store: LocalWeightsStore, mirror: Any) -> None:
    cellmap = pytest.importorskip("cellmap_models.pytorch.cosem.load_model")
    import importlib
    from types import SimpleNamespace

    parameters = dict(vars(importlib.import_module("cellmap_models.pytorch.cosem.setup28.model")))
    parameters |= {
        "feature_widths_down": [1, 6, 36, 216],
        "feature_widths_up": [6, 6, 36, 216],
        "final_feature_width": 6,
    }
    torch.manual_seed(5)
    theirs = cellmap.Architecture(SimpleNamespace(**parameters)).state_dict()
    state: dict[str, torch.Tensor] = {}
    for key, value in theirs.items():
        body = key.removeprefix("backbone.")
        first, second = (
            (f"architecture.unet.{body}", f"chain.0.unet.{body}")
            if key.startswith("backbone.")
            else (key, key.replace("prediction_head", "chain.1"))
        )
        state |= {first: value, second: value}
    assert len(state) == 84
    file = io.BytesIO()
    torch.save({"model": state}, file)
    mirror.files[CHECKPOINT] = file.getvalue()
    model = network("setup28", 2, ["mito", "er_mem"])
    report = CosemStart(CosemStartConfig("setup28", "1440000")).initialize_weights(model)
    assert torch.equal(model.prediction_head.weight[1], theirs["prediction_head.weight"][1])
    assert torch.equal(model.prediction_head.bias[1], theirs["prediction_head.bias"][1])
    assert report.body_share_loaded == 1
    assert not report.left_over

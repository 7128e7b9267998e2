"""A store with five scored checkpoints, and the command as a person or a script types it."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.command_line.dacapo_store import main
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoresRecord
from tests.command_line.tiny_run import TinyRun

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = LocalWeightsStore(tmp_path_factory.mktemp("filled"))
    run = TinyRun()
    for iteration, dice in ((1000, 0.5), (2000, 0.8), (3000, 0.7), (4000, 0.6), (5000, None)):
        store.store_weights(run, iteration)
        record = ScoresRecord.model_validate(
            {
                "iteration": iteration,
                "dataset": "val",
                "criteria": {"dice": True},
                "entries": [{"parameters": {"threshold": 0.4}, "scores": {"dice": dice}}],
            }
        )
        store.store_scores("run", iteration, "val", record)
    store.derive_best("run")
    return Path(store.basedir)


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> LocalWeightsStore:
    shutil.copytree(filled, tmp_path / "store", symlinks=True)
    return LocalWeightsStore(tmp_path / "store")


@pytest.fixture
def dacapo_store(
    store: LocalWeightsStore,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Command:
    """Runs the command in this process; its exit code, output and errors."""
    monkeypatch.setenv("DACAPO_RUNS_BASE_DIR", store.basedir)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dacapo-store", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return call


@pytest.fixture(
    params=["local", "memory", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.slow])]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """Where a store can be, on each backend in turn."""
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}", {}
    if request.param == "s3":
        server = request.getfixturevalue("s3_server")
        return server.new_folder(), server.storage_options
    return str(tmp_path / "new"), {}

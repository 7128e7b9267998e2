"""What keeps processes from training together is said by name, and ends all of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.training.errors import GroupError, PeersUnreachableError
from dacapo_core.training.launch import Launcher
from dacapo_core.training.process_group import join, refuse_differences
from tests.conftest import free_ports
from tests.training.launcher import TWO_HERE, launch
from tests.training.test_processes import PROGRAM, configuration


def ended(folder: Path, config: RunConfig, program: Path = PROGRAM) -> str:
    """What two processes said that could not train a run."""
    job = folder / "job.json"
    job.write_text(json.dumps([("small", config.model_dump(mode="json"), 4)]))
    process = launch(program, job, *TWO_HERE)
    try:
        said, _ = process.communicate(timeout=150)
    finally:
        # its processes end with it
        process.kill()
    assert process.returncode != 0
    return said


def test_processes_that_differ_are_named_with_what_differs() -> None:
    first = {"host": "a", "code": "1.0 (ab12)", "configuration": {"batch_size": 4, "seed": 1}}
    refuse_differences([first, dict(first, host="b")])
    with pytest.raises(GroupError, match=r"process 2 on c .*batch_size is 8, for the first 4"):
        refuse_differences([first, first, dict(first, host="c", configuration={"batch_size": 8})])
    with pytest.raises(GroupError, match=r"process 1 on b runs code 1.1 \(ab12\), the first 1.0"):
        refuse_differences([first, dict(first, host="b", code="1.1 (ab12)")])


def test_a_rendezvous_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    environment = {
        "RANK": 1,
        "WORLD_SIZE": 2,
        "LOCAL_WORLD_SIZE": 1,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(
        PeersUnreachableError, match=rf"process 1 of 2 .* 127\.0\.0\.1:{port} within 1 s"
    ):
        join(torch.device("cpu"), {}, timedelta(seconds=1))


@pytest.mark.slow
def test_a_launcher_says_which_host_it_cannot_reach(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    where = ("--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.2:{port}")
    process = launch(PROGRAM, tmp_path, *where, "--rdzv-conf=is_host=0,read_timeout=1")
    said, _ = process.communicate(timeout=150)
    assert process.returncode == 1
    assert "--rdzv-endpoint names cannot be reached: The client socket has timed out" in said
    assert f"(127.0.0.2, {port})" in said


@pytest.mark.slow
def test_processes_that_were_told_different_things_are_refused(
    tmp_path: Path, small_config: Any
) -> None:
    (tmp_path / "rank1").mkdir()
    (tmp_path / "rank1" / "told").write_text("other")
    said = ended(tmp_path, configuration(small_config, {}))
    assert "GroupError: the 2 processes do not train the same run: process 1 on" in said
    assert "told is 'other', for the first None" in said


@pytest.mark.slow
def test_a_volume_that_one_process_cannot_read_ends_all_with_its_message(
    tmp_path: Path, small_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rank1").mkdir()
    monkeypatch.chdir(tmp_path)
    root = zarr.open_group(str(tmp_path / "mine.zarr"), mode="w")
    values = np.random.default_rng(0).integers(0, 255, (24, 24, 24), np.uint8)
    for name, array in (("raw", values), ("labels", (values > 127).astype(np.uint8))):
        root.create_array(name, data=array).attrs["resolution"] = [8, 8, 8]
    array = {"file_name": "mine.zarr"}
    volume = {
        "name": "mine",
        "raw_config": {**array, "dataset": "raw"},
        "gt_config": {"type": "zarr", **array, "dataset": "labels", "channels": ["mito"]},
    }
    split = {"type": "train_validate", "train_configs": [volume], "validate_configs": []}
    config = configuration(
        small_config,
        {},
        datasplit_config=split,
        task_config={"type": "one_hot", "channels": ["mito"]},
    )
    said = ended(tmp_path, config)
    # rank 0 reads it well, and says what rank 1 met
    assert "process 1 of 2 (on " in said
    assert "mine.zarr" in said
    assert "Connection" not in said


@pytest.mark.slow
def test_an_error_of_one_process_alone_ends_all_at_once(tmp_path: Path, small_config: Any) -> None:
    said = ended(tmp_path, configuration(small_config, {}), PROGRAM.with_name("failing_process.py"))
    assert "DeviceLost: CUDA error: uncorrectable ECC error encountered" in said
    assert "ProcessDiedError: another of the 2 processes that train together ended" in said


def test_a_launcher_that_is_asked_to_stop_while_it_is_started_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class AskedMeanwhile(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", AskedMeanwhile)
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    with Launcher(sleeping, os.environ) as launcher:
        assert launcher.ended(30)
    assert launcher.signalled == signal.SIGTERM

"""What cannot work fails at once, and the state of the run says why."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from prefect.states import State

from dacapo_core.store.local_weights_store import LocalWeightsStore
from flows.sweep import sweep
from flows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

AT_ONCE_SECONDS = 20


def ended(flow: Callable[..., State[Any]], **parameters: Any) -> str:
    """The message of the state that a flow run ends in; it must have failed, and at once."""
    began = time.monotonic()
    state = flow(**parameters, return_state=True)
    assert state.is_failed() or state.is_crashed()
    assert time.monotonic() - began < AT_ONCE_SECONDS
    return str(state.message)


def test_a_missing_block_is_named_with_the_way_out(prefect_server: str) -> None:
    message = ended(train, store="block:nowhere")
    assert "no weights store block 'nowhere'" in message
    assert "under Blocks in the UI" in message


def test_a_missing_block_of_a_start_is_named(prefect_server: str, tmp_path: Any) -> None:
    start = {"type": "run", "run": "source", "criterion": "latest", "store_url": "block:gone"}
    message = ended(train, run={"name": "child", "start_config": start}, store=str(tmp_path))
    assert "no weights store block 'gone'" in message
    assert LocalWeightsStore(tmp_path).run_config("child") is None


def test_a_store_that_cannot_be_reached_is_named(prefect_server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    from prefect.types import SecretDict

    from tasks.runtime.weights_store_block import WeightsStoreBlock

    options = {"key": "test", "secret": "hush-hush", "endpoint_url": f"http://127.0.0.1:{port}"}
    WeightsStoreBlock(url="s3://runs", storage_options=SecretDict(options)).save(
        "unreachable", overwrite=True
    )
    message = ended(train, store="block:unreachable")
    assert f"127.0.0.1:{port}" in message
    assert "hush" not in message


def test_a_store_that_cannot_be_written_is_named(prefect_server: str, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert str(tmp_path / "file") in ended(train, store=str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"num_iterations": 0}, "num_iterations"),
        ({"name": "../up"}, "../up"),
        ({"batch_size": 1, "trainer_config": {"gradient_accumulation": 2}}, "batch_size 1"),
    ],
)
def test_bad_parameters_are_named(
    prefect_server: str, tmp_path: Any, run: dict[str, Any], said: str
) -> None:
    assert said in ended(train, run=run, store=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({}, "the grid is empty"),
        ({"learning_rat": [1]}, "no 'learning_rat'; there are: name, repetition"),
        ({"trainer_config.beta": [1]}, "trainer_config has no 'beta'"),
        ({"seed": []}, "'seed' has no values"),
        ({"seed": [1, 1]}, "has a value twice"),
        ({"seed": list(range(101))}, "means 101 runs"),
        ({"learning_rate": [1e-3, -1.0]}, "greater than 0"),
        ({"name": ["a"]}, "do not sweep over name"),
    ],
)
def test_a_bad_grid_starts_nothing(
    prefect_server: str, tmp_path: Any, grid: dict[str, list[Any]], said: str
) -> None:
    assert said in ended(sweep, grid=grid, store=str(tmp_path))


def test_without_the_pool_a_worker_says_what_makes_it(prefect_server: str) -> None:
    import os

    refused = subprocess.run(
        [sys.executable, "-m", "deployments", "worker"],
        env=os.environ | {"PREFECT_API_URL": prefect_server},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "no work pool 'gpu'" in refused.stderr
    assert "python -m deployments deploy" in refused.stderr

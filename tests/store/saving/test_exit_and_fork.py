"""What was accepted is stored when the interpreter ends, and a forked child has a store too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore

pytestmark = pytest.mark.slow

TRAINER = """
import atexit, json, os, sys, threading
from types import SimpleNamespace
import torch
from dacapo_core.store.local_weights_store import LocalWeightsStore

store = LocalWeightsStore(sys.argv[1], json.loads(sys.argv[2]))
weights = torch.zeros(25_000_000 if store.filesystem.is_local else 10_000)
# the threads that torch copies with do not live in a forked child
torch.set_num_threads(1)
run = SimpleNamespace(
    name="run",
    model=SimpleNamespace(state_dict=lambda: {"w": weights}),
    optimizer=SimpleNamespace(state_dict=lambda: {}),
)
"""


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """A store that a process and its test can open."""
    if request.param == "local":
        return str(tmp_path / "store"), {}
    server = request.getfixturevalue("s3_server")
    # a name that must be looked up
    endpoint = server.endpoint_url.replace("127.0.0.1", "localhost")
    return server.new_folder(), {**server.storage_options, "endpoint_url": endpoint}


def run_process(place: tuple[str, dict[str, Any]], code: str) -> subprocess.CompletedProcess[str]:
    url, options = place
    return subprocess.run(
        [sys.executable, "-c", TRAINER + code, url, json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("store.store_weights(run, 3, wait=False)", 0),
        ("store.store_weights(run, 3, wait=False); sys.exit(5)", 5),
        ("store.store_weights(run, 3, wait=False); raise RuntimeError", 1),
        ("store.store_weights(run, 3, wait=False); raise KeyboardInterrupt", -2),
        (
            "thread = threading.Thread(target=store.store_weights, args=(run, 3),"
            " kwargs={'wait': False}); thread.start(); thread.join()",
            0,
        ),
    ],
    ids=["end", "exit", "error", "interrupt", "thread"],
)
def test_the_interpreters_exit_loses_nothing(
    place: tuple[str, dict[str, Any]], code: str, status: int
) -> None:
    process = run_process(place, code)
    assert process.returncode == status, process.stderr
    assert LocalWeightsStore(*place).latest_iteration("run", verified=True) == 3


def test_what_runs_at_exit_can_store(place: tuple[str, dict[str, Any]]) -> None:
    code = """
store.store_weights(run, 3)
atexit.register(lambda: store.store_weights(run, 4, wait=False))
"""
    process = run_process(place, code)
    assert process.stderr == ""
    assert LocalWeightsStore(*place).latest_iteration("run", verified=True) == 4


def test_a_forked_child_stores(place: tuple[str, dict[str, Any]]) -> None:
    code = """
store.store_weights(run, 3)
child = os.fork()
if child == 0:
    store.store_weights(run, 4, wait=False)
    store.store_weights(run, 5)
    sys.exit(len(store.iterations("run")) < 2)
assert os.waitpid(child, 0)[1] == 0
store.store_weights(run, 6, wait=False)
"""
    process = run_process(place, code)
    assert process.returncode == 0, process.stderr
    assert LocalWeightsStore(*place).iterations("run") == [3, 4, 5, 6]


def test_a_forked_child_does_not_wait_for_its_parents_job(
    place: tuple[str, dict[str, Any]],
) -> None:
    code = """
store.store_weights(run, 3, wait=False)
child = os.fork()
if child == 0:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    process = run_process(place, code)
    assert process.returncode == 0, process.stderr
    assert LocalWeightsStore(*place).iterations("run") == [3]

"""Several processes train one run as one process would; one that dies ends it clearly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dacapo_core.experiments.run import Run
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.resume import resume
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until

LEADER = """
import sys
import torch
from dacapo_core.experiments.trainers.errors import MemberDiedError
from dacapo_core.experiments.run import Run
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.resume import resume
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until

class Enough(Exception):
    pass

def on_iteration(stats):
    print("iteration", stats.iteration, *(m.pid for m in run.team.members), flush=True)
    if stats.iteration == 3:
        raise Enough

torch.set_num_threads(1)
run, store = Run(RunConfig.from_file(sys.argv[1])), LocalWeightsStore(sys.argv[2])
resume(run, store)
try:
    try:
        train_until(run, 6, on_iteration=on_iteration)
    except Enough:
        pass
    store.store_weights(run, run.iteration)
    train_until(run, run.config.num_iterations, on_iteration=on_iteration)
    store.store_weights(run, run.iteration)
except MemberDiedError as error:
    sys.exit(f"MemberDiedError: {error}")
"""


def lead(tmp_path: Path, config: RunConfig) -> subprocess.Popen[str]:
    config_file = tmp_path / "run.yaml"
    config_file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return subprocess.Popen(
        [sys.executable, "-c", LEADER, str(config_file), str(tmp_path / "store")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def member_pid(process: subprocess.Popen[str], iteration: int) -> int:
    """Wait until the leader has done `iteration`; the process id of its one member."""
    assert process.stdout is not None
    for line in process.stdout:
        _, number, pid = line.split()
        if int(number) == iteration:
            return int(pid)
    raise AssertionError(process.communicate()[1])


def assert_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if status == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is still there")


@pytest.mark.slow
def test_two_processes_train_what_one_would_and_stop_when_told(
    tmp_path: Path, small_config: Any
) -> None:
    def config(**settings: Any) -> RunConfig:
        values = small_config(batch_size=4, trainer={"ema_decay": 0.9, **settings}).model_dump()
        # before InstanceNorm a bias has no gradient but rounding errors, which AdamW makes large
        values["architecture_config"]["normalisation"] = None
        return RunConfig.model_validate(values)

    alone = Run(config())
    train_until(alone, 12)
    process = lead(tmp_path, config(processes=2, gradient_accumulation=2))
    pid = member_pid(process, 12)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert_gone(pid)

    weights = LocalWeightsStore(tmp_path / "store").retrieve_weights("small", 12)
    for name, tensor in alone.model.state_dict().items():
        torch.testing.assert_close(weights.model[name], tensor, rtol=1e-3, atol=1e-4)
    assert any(
        not torch.allclose(tensor, weights.model[name], rtol=1e-3, atol=1e-4)
        for name, tensor in Run(alone.config).model.state_dict().items()
    )


@pytest.mark.slow
def test_a_killed_member_ends_the_run_clearly_and_it_resumes(
    tmp_path: Path, small_config: Any
) -> None:
    config = small_config(batch_size=2, num_iterations=3000, trainer={"processes": 2})
    process = lead(tmp_path, config)
    os.kill(member_pid(process, 8), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "MemberDiedError: process 1 of the 2 that train run 'small' ended (signal 9)" in errors
    resumed = Run(small_config(batch_size=2, num_iterations=3000))
    assert resume(resumed, LocalWeightsStore(tmp_path / "store")).iteration == 3


@pytest.mark.slow
def test_members_end_with_a_leader_that_is_killed(tmp_path: Path, small_config: Any) -> None:
    process = lead(tmp_path, small_config(num_iterations=3000, trainer={"processes": 2}))
    pid = member_pid(process, 5)
    process.kill()
    process.communicate()
    assert_gone(pid)

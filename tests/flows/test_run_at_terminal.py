"""A flow at a terminal: what a person can put right is said in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.experiments.datasplits.datasets.arrays.array import (
    ArrayError,
    ArrayUnreachableError,
)
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.tasks.one_hot_task import OneHotTask
from dacapo_core.store.errors import UnsafeCheckpointError
from dacapo_core.training.errors import GroupError, PeersUnreachableError
from dacapo_core.training.launch import NOT_AGAIN
from flows.group_ranks import exit_code_of
from flows.run_at_terminal import run_at_terminal
from tests.small_run import small_run


@pytest.fixture
def at_a_terminal(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flows run in this process, on the tests' server."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)


@pytest.mark.slow
@pytest.mark.prefect
def test_a_run_that_diverges_is_said_in_one_line(at_a_terminal: None, tmp_path: Path) -> None:
    trainer = {"trainer_config": {"max_skipped": 2, "warmup_iterations": 0}}
    changed = small_run("wild", 10, 10) | trainer | {"learning_rate": 1e30}
    with pytest.raises(SystemExit, match=r"^TrainingDivergedError: run 'wild': 2 iterations in"):
        run_at_terminal("train", None, run=RunConfig.model_validate(changed), store=str(tmp_path))


@pytest.mark.slow
@pytest.mark.prefect
def test_a_device_without_enough_memory_is_said_in_one_line(
    at_a_terminal: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(self: Any, prediction: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        return prediction.sum() * torch.ones(1 << 50).sum()

    monkeypatch.setattr(OneHotTask, "loss", greedy)
    run = RunConfig.model_validate(small_run("greedy", 10, 10))
    with pytest.raises(SystemExit, match=r"^OutOfMemoryError: cpu has too little memory"):
        run_at_terminal("train", None, run=run, store=str(tmp_path))


def test_what_it_expects_is_known_without_torch() -> None:
    code = "import sys, flows.run_at_terminal; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_may_pass_is_tried_again_by_a_group() -> None:
    again = PeersUnreachableError("late"), ArrayUnreachableError("no answer"), OSError("busy")
    assert [exit_code_of(error) for error in again] == [1, 1, 1]
    never = GroupError("another run"), ArrayError("NaN"), UnsafeCheckpointError("code")
    assert {exit_code_of(error) for error in never} == {NOT_AGAIN}

"""A training process killed with SIGKILL, again and again, ends as an undisturbed one does."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore

PROGRAM = Path(__file__).with_name("training_process.py")
SETTINGS = {"ema_decay": 0.9, "gradient_accumulation": 2}


def start(config_file: Path, store: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(config_file), str(store)],
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(config_file: Path, store: Path) -> int:
    """Let a process train to the end; the iteration from which it continued."""
    output, _ = (process := start(config_file, store)).communicate(timeout=120)
    assert process.returncode == 0
    return int(output.split()[1])


def kill_at(config_file: Path, store: Path, line: str, delay: float) -> bool:
    """Kill a process `delay` seconds after it has said `line`; False if it was done before."""
    process = start(config_file, store)
    assert process.stdout is not None
    for said in process.stdout:
        if said.strip() == line:
            time.sleep(delay)
            process.kill()
            break
    process.stdout.close()
    return process.wait(timeout=120) == -9


def final_state(store: Path, config: RunConfig) -> dict[str, Any]:
    weights = LocalWeightsStore(store).retrieve_weights(config.name, config.num_iterations)
    return {"model": weights.model, "optimizer": weights.optimizer, "extra": weights.extra}


def flat(state: Any, path: str = "") -> dict[str, Any]:
    if isinstance(state, dict):
        items = state.items()
    elif isinstance(state, list | tuple):
        items = dict(enumerate(state)).items()
    else:
        return {path: state}
    return {
        key: value for name, inner in items for key, value in flat(inner, f"{path}/{name}").items()
    }


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    first, second = flat(ours), flat(theirs)
    assert first.keys() == second.keys()
    assert any(isinstance(value, torch.Tensor) for value in first.values())
    different = [
        key
        for key, value in first.items()
        if not (
            torch.equal(value, second[key])
            if isinstance(value, torch.Tensor)
            else value == second[key]
        )
    ]
    assert different == []


def moments(count: int, config: RunConfig, seed: int) -> list[tuple[str, float]]:
    """What a process must have said before it is killed, and how long after."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        # every third while a checkpoint is being stored
        what = "storing" if number % 3 == 2 else "iteration"
        iterations = (
            config.validation_iterations() if what == "storing" else range(1, config.num_iterations)
        )
        found.append((f"{what} {chance.choice(iterations)}", chance.uniform(0, 0.05)))
    return found


def killed_and_undisturbed(tmp_path: Path, config: RunConfig, count: int, seed: int) -> int:
    """Kill one run `count` times, compare it with another; how many kills hit it alive."""
    config_file = tmp_path / "run.yaml"
    config_file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    finish(config_file, tmp_path / "undisturbed")
    wanted = final_state(tmp_path / "undisturbed", config)
    hits = 0
    drawn = moments(count, config, seed)
    for number in range(0, count, 4):
        store = tmp_path / f"killed-{number // 4}"
        # forward through the run: a resumed one never says again what lies behind it
        for line, delay in sorted(drawn[number : number + 4], key=lambda m: int(m[0].split()[1])):
            hits += kill_at(config_file, store, line, delay)
    for store in sorted(tmp_path.glob("killed-*")):
        finish(config_file, store)
        assert_equal(final_state(store, config), wanted)
        losses = [
            loss
            for record in LocalWeightsStore(store).training_stats(config.name)
            for loss in record["loss"]
        ]
        assert len(losses) == config.num_iterations
    return hits


@pytest.mark.slow
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, small_config: Any
) -> None:
    config = small_config(trainer=SETTINGS)
    # a seed whose moments lie in three different intervals, so that each finds a live process
    assert killed_and_undisturbed(tmp_path, config, count=3, seed=36) >= 2


@pytest.mark.campaign
def test_a_run_killed_at_twenty_random_moments(tmp_path: Path, small_config: Any) -> None:
    config = small_config(trainer=SETTINGS)
    assert killed_and_undisturbed(tmp_path, config, count=20, seed=random.randrange(1 << 30)) >= 10

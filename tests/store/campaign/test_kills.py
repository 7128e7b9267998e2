"""Each operation on a store, really killed at each step and at random moments."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign_figures import Campaign

SCRIPT = Path(__file__).parents[1] / "processes" / "disturbed_operations.py"
OPERATIONS = ["store", "store again", "best", "prune", "mark", "restore", "sweep", "copy"]


def kill(folder: Path, operation: str, how: str, number: int, campaign: Campaign) -> int:
    seed = random.SystemRandom().randrange(10**6)
    said = {"folder": str(folder), "operation": operation, "how": how, "number": number}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps({**said, "seed": seed})],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    campaign.count(f"kills at {'each step' if how == 'step' else 'random'}", found["kills"])
    for each in found["violations"]:
        campaign.check(False, f"seed {seed}, {each}")
    return int(found["kills"])


@pytest.mark.slow
def test_a_copy_killed_at_its_first_steps(tmp_path: Path, campaign: Campaign) -> None:
    assert kill(tmp_path, "copy", "step", 6, campaign) == 6


@pytest.mark.campaign
@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_each_step(operation: str, tmp_path: Path, campaign: Campaign) -> None:
    assert kill(tmp_path, operation, "step", 500, campaign) > 5


@pytest.mark.campaign
@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_random(operation: str, tmp_path: Path, campaign: Campaign) -> None:
    assert kill(tmp_path, operation, "random", 45, campaign) > 10

"""Two processes that store, prune, pin and sweep one run at the same moment."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign_figures import Campaign

SCRIPT = Path(__file__).parents[1] / "processes" / "two_writers.py"


@pytest.mark.campaign
def test_two_writers(tmp_path: Path, campaign: Campaign) -> None:
    seed = random.SystemRandom().randrange(10**6)
    said = {"folder": str(tmp_path), "rounds": 60, "seed": seed}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(said)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    campaign.count("rounds of two writers", found["rounds"])
    for each in found["violations"]:
        campaign.check(False, f"seed {seed}, {each}; {done.stderr[-300:]}")

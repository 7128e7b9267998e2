"""Files made to run code, to hang or to take all memory are refused, none of it happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign_figures import Campaign

SCRIPT = Path(__file__).parents[1] / "processes" / "hostile_files.py"


@pytest.mark.campaign
def test_hostile_files(tmp_path: Path, campaign: Campaign) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps({"folder": str(tmp_path)})],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    campaign.count("hostile files", found["files"])
    for each in found["violations"]:
        campaign.check(False, each)

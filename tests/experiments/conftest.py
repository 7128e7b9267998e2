"""The real DaCapo, in an environment of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def dacapo_python() -> Path:
    """The Python that has dacapo-ml 0.3.5; it can share no environment with Prefect 3."""
    python = os.environ.get("DACAPO_PEER_PYTHON")
    if not python:
        pytest.skip("DACAPO_PEER_PYTHON does not name a Python with dacapo-ml 0.3.5")
    if not Path(python).is_file():
        pytest.skip(f"DACAPO_PEER_PYTHON names {python}, which is not there")
    return Path(python)

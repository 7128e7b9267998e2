"""One real Prefect server for all flow tests of a session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from deployments.marked_processes import marked
from tests.prefect_server import prefect_server as started
from tests.small_run import small_run

if TYPE_CHECKING:
    from dacapo_core.experiments.run_config import RunConfig


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Flows called in a test run on a server of the session's own; yields its API URL."""
    with started(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture
def tiny() -> RunConfig:
    """A run of seconds: six iterations on small generated volumes, three checkpoints."""
    from dacapo_core.experiments.run_config import RunConfig

    return RunConfig.model_validate(small_run("tiny", 6, 2))


@pytest.fixture
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test started ends with it; one that failed may leave a run that never ends."""
    yield
    # pytest's own word, which all that it starts inherit
    for pid in marked("PYTEST_CURRENT_TEST", f"{request.node.nodeid} (call)"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

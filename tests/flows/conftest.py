"""One real Prefect server for all flow tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

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

"""One real Prefect server for all flow tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dacapo_core.experiments.run_config import RunConfig


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Flows called in a test run on a server of the session's own; yields its API URL."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_HOME,
        PREFECT_SERVER_EPHEMERAL_ENABLED,
        temporary_settings,
    )

    from flows.embedded_server import embedded_server, wait_until_ready
    from flows.private_prefect import send_what_is_queued

    home = tmp_path_factory.mktemp("prefect")
    with embedded_server(home) as url:
        wait_until_ready(url)
        with temporary_settings(
            {
                PREFECT_API_URL: url,
                PREFECT_HOME: home,
                PREFECT_SERVER_EPHEMERAL_ENABLED: False,
            }
        ):
            yield url
            send_what_is_queued()


@pytest.fixture
def tiny() -> RunConfig:
    """A run of seconds: six iterations on small generated volumes, three checkpoints."""
    from dacapo_core.experiments.run_config import RunConfig

    return RunConfig.model_validate(
        {
            "name": "tiny",
            "num_iterations": 6,
            "validation_interval": 2,
            "num_workers": 0,
            "architecture_config": {
                "type": "cnnectome_unet",
                "input_shape": [16, 16, 16],
                "num_fmaps": 4,
                "fmaps_out": 4,
                "downsample_factors": [[2, 2, 2]],
                "padding": "same",
                "normalisation": "instance",
            },
            "task_config": {"type": "one_hot", "channels": ["mito", "pm"], "thresholds": [0.5]},
            "trainer_config": {"warmup_iterations": 1},
            "datasplit_config": {"type": "synthetic", "shape": [24, 24, 24], "num_train": 1},
        }
    )

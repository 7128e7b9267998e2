"""One real Prefect server for all flow tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


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

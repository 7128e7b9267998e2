"""A real Prefect server for flows that are called in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """Flows called inside the block run on a server of its own in ``home``; yields its API URL."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_HOME,
        PREFECT_SERVER_EPHEMERAL_ENABLED,
        temporary_settings,
    )

    from flows.embedded_prefect import embedded_server, send_what_is_queued, wait_until_ready

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

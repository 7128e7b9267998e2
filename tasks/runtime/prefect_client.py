"""Requests to the Prefect server that nobody waits long for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import SettingsContext, get_settings_context
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES


@contextmanager
def brief_client(
    seconds: float = 5.0, *, retries: int = 0, context: SettingsContext | None = None
) -> Iterator[SyncPrefectClient]:
    """A client that gives up early, where Prefect's own would try for a minute.

    Args:
        seconds: how long one attempt may take.
        retries: how many further attempts are made.
        context: Prefect's settings, for a thread that does not inherit them.
    """
    context = context or get_settings_context()
    settings = context.settings.copy_with_update(updates={PREFECT_CLIENT_MAX_RETRIES: retries})
    with (
        SettingsContext(profile=context.profile, settings=settings),
        get_client(sync_client=True, httpx_settings={"timeout": seconds}) as client,
    ):
        yield client

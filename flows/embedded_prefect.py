"""Prefect for one process: a server of its own, quiet, and gone when the process is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from flows.embedded_server import embedded_server, wait_until_ready


class AlreadyRunningError(RuntimeError):
    """Another process runs in the same folder."""


@contextmanager
def private_prefect(folder: Path) -> Iterator[None]:
    """Run flows inside the block on a server of this process's own, kept in ``folder``.

    To be entered before prefect is imported: its settings come from the environment. Flow runs
    that an earlier, killed process left as running are marked as crashed.

    Raises:
        AlreadyRunningError: another process is inside this block with the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # the operating system gives the lock back when its holder dies
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise AlreadyRunningError(
            f"another process is running in {folder}; wait for it or end it"
        ) from None
    try:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            del os.environ[name]
        with embedded_server(folder / "prefect") as api_url:
            os.environ |= {
                "DO_NOT_TRACK": "1",
                "PREFECT_API_URL": api_url,
                "PREFECT_HOME": str(folder / "prefect"),
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                # the flow run's log has everything; the terminal has the bar and its notes
                "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
            }
            wait_until_ready(api_url)
            _mark_abandoned_runs()
            try:
                yield
            finally:
                send_what_is_queued()
    finally:
        lock.release()


def send_what_is_queued(seconds: float = 15) -> None:
    """Hand queued events and log lines to the server while it is still there.

    Otherwise they are retried for a minute when the interpreter ends.
    """
    from prefect.events.worker import EventsWorker

    # one register for all queues of Prefect: this drains the log lines too
    EventsWorker.drain_all(timeout=seconds, at_exit=False)


def _mark_abandoned_runs() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    from tasks.runtime.dead_attempts import end_tasks

    unfinished = FlowRunFilter(
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
        )
    )
    with get_client(sync_client=True) as client:
        abandoned = [each.id for each in client.read_flow_runs(flow_run_filter=unfinished)]
        for flow_run in abandoned:
            client.set_flow_run_state(
                flow_run, Crashed(message="Its process was killed."), force=True
            )
        if abandoned:
            end_tasks(client, abandoned)

"""Task runs of an attempt that was killed: nobody else would ever end them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Crashed

from dacapo_core.training.launch import was_started_again

ATTEMPT_SECONDS = 5.0
MESSAGE = "Its process was killed; the next attempt goes on from the store."
ENDED_MESSAGE = "Its flow run ended without it: the process was killed."
# who ends a flow run ends its tasks first, and what says so may be under way
ENDED_FOR = timedelta(minutes=1)


def end_tasks_of_earlier_attempts() -> None:
    """Mark what an earlier attempt of this flow run left Running as crashed; best effort."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    if context.flow_run.run_count < 2 and not was_started_again():
        return
    _end_once(context.flow_run.id, context.flow_run.run_count)


@cache
def _end_once(flow_run: UUID, attempt: int) -> None:
    try:
        with _brief_client() as client:
            end_tasks(client, [flow_run])
    except Exception as error:
        get_run_logger().warning(
            "tasks of an earlier attempt may be shown as running for ever: %s", error
        )


def end_tasks_of_ended_runs(ended_for: timedelta = ENDED_FOR) -> None:
    """Mark what flow runs that ended some time ago have left Running as crashed; best effort.

    That of a run whose last attempt was killed nobody else ends.
    """
    ends = FlowRunFilterStateType(any_=list(TERMINAL_STATES))
    ended = FlowRunFilter(
        state=FlowRunFilterState(type=ends),
        end_time=FlowRunFilterEndTime(before_=datetime.now(UTC) - ended_for),
    )
    # the server is away, which others say
    with suppress(Exception), _brief_client() as client:
        _end(client, ended, ENDED_MESSAGE)


def end_tasks(client: SyncPrefectClient, flow_runs: Sequence[UUID]) -> None:
    """Mark the task runs of these flow runs that have no end as crashed."""
    _end(client, FlowRunFilter(id=FlowRunFilterId(any_=list(flow_runs))), MESSAGE)


def _end(client: SyncPrefectClient, of: FlowRunFilter, message: str) -> None:
    endless = TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    left = client.read_task_runs(
        flow_run_filter=of,
        task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=endless)),
    )
    for each in left:
        client.set_task_run_state(each.id, Crashed(message=message), force=True)


@contextmanager
def _brief_client() -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True, httpx_settings={"timeout": ATTEMPT_SECONDS}) as client,
    ):
        yield client

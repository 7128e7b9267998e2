"""Task runs of an attempt that was killed: nobody else would ever end them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Crashed

from dacapo_core.training.launch import was_started_again

ATTEMPT_SECONDS = 5.0
MESSAGE = "Its process was killed; the next attempt goes on from the store."


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
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True, httpx_settings={"timeout": ATTEMPT_SECONDS}) as client,
        ):
            end_tasks(client, [flow_run])
    except Exception as error:
        get_run_logger().warning(
            "tasks of an earlier attempt may be shown as running for ever: %s", error
        )


def end_tasks(client: SyncPrefectClient, flow_runs: Sequence[UUID]) -> None:
    """Mark the task runs of these flow runs that have no end as crashed."""
    left = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(flow_runs))),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(
                type=TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
            )
        ),
    )
    for each in left:
        client.set_task_run_state(each.id, Crashed(message=MESSAGE), force=True)

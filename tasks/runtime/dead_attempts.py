"""End the task runs of attempts that were killed, which would be shown as running for ever."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Crashed

from dacapo_core.training.launch import was_started_again
from tasks.runtime.prefect_client import brief_client

MESSAGE = "Its process was killed; the next attempt goes on from the store."
ENDED_MESSAGE = "Its flow run ended without it: the process was killed."
OUR_FLOWS = ("train", "finetune", "validate", "prune", "sweep", "compare-with-scratch")
# a process ends the tasks before their flow run, but the server may hear of them later
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
        with brief_client() as client:
            end_tasks(client, [flow_run])
    except Exception as error:
        get_run_logger().warning(
            "tasks of an earlier attempt may be shown as running for ever: %s", error
        )


def end_tasks_of_ended_runs(ended_for: timedelta = ENDED_FOR) -> None:
    """Mark what flow runs that ended some time ago have left Running as crashed; best effort.

    No attempt follows the last one to do this, where that one was killed. Of our flows alone: a
    server may have others, whose tasks may outlive their flow run.
    """
    ended = FlowRunFilter(
        state={"type": {"any_": list(TERMINAL_STATES)}},
        end_time={"before_": datetime.now(UTC) - ended_for},
    )
    # others say that the server is away
    with suppress(Exception), brief_client() as client:
        _end(client, ended, ENDED_MESSAGE, FlowFilter(name={"any_": list(OUR_FLOWS)}))


def end_tasks(client: SyncPrefectClient, flow_runs: Sequence[UUID]) -> None:
    """Mark the task runs of these flow runs that have no end as crashed."""
    _end(client, FlowRunFilter(id={"any_": list(flow_runs)}), MESSAGE)


def _end(
    client: SyncPrefectClient,
    of: FlowRunFilter,
    message: str,
    flows: FlowFilter | None = None,
) -> None:
    endless = TaskRunFilter(state={"type": {"any_": [StateType.RUNNING, StateType.PENDING]}})
    for each in client.read_task_runs(
        flow_filter=flows, flow_run_filter=of, task_run_filter=endless
    ):
        client.set_task_run_state(each.id, Crashed(message=message), force=True)

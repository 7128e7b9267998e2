"""What a killed attempt left Running ends when the next one begins."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Running

from tasks.runtime.dead_attempts import (
    ENDED_MESSAGE,
    MESSAGE,
    end_tasks_of_earlier_attempts,
    end_tasks_of_ended_runs,
)

pytestmark = [pytest.mark.slow, pytest.mark.prefect]


@task
def work() -> None:
    """Stands for what was going on."""


def test_the_next_attempt_ends_what_the_last_one_left(prefect_server: str) -> None:
    made: dict[str, UUID] = {}

    @flow(retries=1)
    def killed_once() -> None:
        end_tasks_of_earlier_attempts()
        if made:
            return
        with get_client(sync_client=True) as client:
            for name, state in (("left", Running()), ("done", Completed())):
                at = UUID(flow_run.id)
                made[name] = client.create_task_run(work, at, name, name=name, state=state).id
        raise RuntimeError("killed")

    killed_once()
    with get_client(sync_client=True) as client:
        left, done = (client.read_task_run(made[name]).state for name in ("left", "done"))
    assert left is not None
    assert done is not None
    assert (left.name, left.message) == ("Crashed", MESSAGE)
    assert done.name == "Completed"


def test_a_worker_ends_what_the_last_attempt_left_and_nothing_that_goes_on(
    prefect_server: str,
) -> None:
    made: dict[str, UUID] = {}

    def begin_task(name: str) -> None:
        with get_client(sync_client=True) as client:
            at = UUID(flow_run.id)
            made[name] = client.create_task_run(work, at, name, name=name, state=Running()).id

    def state(name: str) -> State:
        with get_client(sync_client=True) as client:
            found = client.read_task_run(made[name]).state
        assert found is not None
        return found

    @flow(name="train")
    def killed_for_good() -> None:
        begin_task("left")
        raise RuntimeError("killed")

    @flow
    def of_another_project() -> None:
        begin_task("foreign")

    @flow(name="train")
    def goes_on() -> None:
        begin_task("running")
        end_tasks_of_ended_runs()
        assert state("left").is_running(), "its flow run has ended just now"
        end_tasks_of_ended_runs(timedelta(0))
        assert state("running").is_running()

    killed_for_good(return_state=True)
    of_another_project()
    goes_on()
    assert state("foreign").is_running()
    assert (state("left").name, state("left").message) == ("Crashed", ENDED_MESSAGE)

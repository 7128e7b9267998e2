"""What a killed attempt left Running ends when the next one begins."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Completed, Running

from tasks.runtime.dead_attempts import MESSAGE, end_tasks_of_earlier_attempts

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

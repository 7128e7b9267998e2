"""What the server does by itself, and leaves alone."""

from __future__ import annotations

from prefect.events.schemas.automations import EventTrigger

from deployments.automations import zombie_runs_crash


def test_the_end_of_heartbeats_says_nothing_of_a_run_that_was_suspended() -> None:
    trigger = zombie_runs_crash().trigger
    assert isinstance(trigger, EventTrigger)
    assert {"prefect.flow-run.Suspended", "prefect.flow-run.Paused"} <= trigger.expect

"""Automations as code: what the server does by itself when something happens.

``apply`` can be repeated: an automation is known by its name, and is created or updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from prefect.automations import AutomationCore
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

HEARTBEATS_MISSED_AFTER = timedelta(seconds=90)
RESTART_AFTER = (timedelta(seconds=20), timedelta(minutes=2), timedelta(minutes=10))
TAKEN_CARE_OF = ("Scheduled", "AwaitingRetry", "Pending", "Running", "Cancelling", "Cancelled")


def zombie_runs_crash() -> AutomationCore:
    """Marks a run whose heartbeat has stopped as crashed: its process and its worker are gone.

    Without it such a run is Running for ever and keeps its slot.
    """
    # one that a person has suspended has no process, and is to stay as it is
    ends = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused")
    return AutomationCore(
        name="dacapo: a run without a heartbeat has crashed",
        description="Marks a flow run as crashed 90 s after its last heartbeat.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ends)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=HEARTBEATS_MISSED_AFTER,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="No heartbeat for 90 s: the process and its worker are gone.",
            )
        ],
    )


def crashed_runs_restart() -> list[AutomationCore]:
    """Schedule a training flow run that crashed again: three times at most, each time later.

    It resumes from the newest checkpoint that verifies. A flow run that failed by an error of its
    own, or was cancelled, is left alone.
    """
    return [
        AutomationCore(
            name=f"dacapo: restart a crashed run, attempt {attempts + 1}",
            description=f"Schedules a training run again {delay.total_seconds():.0f} s after its "
            f"crash number {attempts}.",
            trigger=EventTrigger(
                after={"prefect.flow-run.Crashed"},
                # a person who cancels it meanwhile, or runs it again, is not overruled
                expect={f"prefect.flow-run.{state}" for state in TAKEN_CARE_OF},
                match=ResourceSpecification(
                    {
                        "prefect.resource.id": ["prefect.flow-run.*"],
                        "prefect.run-count": [str(attempts)],
                    }
                ),
                match_related=ResourceSpecification(
                    {
                        "prefect.resource.id": ["prefect.tag.training"],
                        "prefect.resource.role": ["tag"],
                    }
                ),
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=delay,
            ),
            actions=[
                ChangeFlowRunState(
                    name="AwaitingRetry",
                    state=StateType.SCHEDULED,
                    message=f"It crashed; attempt {attempts + 1} resumes from the store.",
                )
            ],
        )
        for attempts, delay in enumerate(RESTART_AFTER, start=1)
    ]


def validate_when_best_moves(deployment: UUID) -> AutomationCore:
    """An example of an automation of your own: when the best of a run moves, run a deployment.

    The event's payload names the iteration, what it is best for, with scores, and the store.
    """
    return AutomationCore(
        name="dacapo: example, act when the best moves",
        description="Runs validate/checkpoint on the new best. Disabled: switch it on to use it.",
        enabled=False,
        trigger=EventTrigger(
            expect={"dacapo.checkpoint.best"},
            match=ResourceSpecification({"prefect.resource.id": ["dacapo.run.*"]}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                deployment_id=deployment,
                parameters={
                    "run": _template("{{ event.payload.run }}"),
                    # a template makes text, and is not looked for inside a list
                    "iterations": {
                        "__prefect_kind": "json",
                        "value": _template("[{{ event.payload.iteration }}]"),
                    },
                    "store": _template("{{ event.payload.store }}"),
                },
            )
        ],
    )


def _template(text: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": text}


def shipped() -> list[AutomationCore]:
    """All automations, for the server as it is now.

    Raises:
        ObjectNotFound: the deployments are not there yet.
    """
    with get_client(sync_client=True) as client:
        judge = client.read_deployment_by_name("validate/checkpoint")
    return [zombie_runs_crash(), *crashed_runs_restart(), validate_when_best_moves(judge.id)]


def apply(automations: Sequence[AutomationCore]) -> list[str]:
    """Create each automation, or update the one of that name.

    An automation that exists stays enabled or disabled, as a person may have switched it.

    Returns:
        The names, in order.
    """
    with get_client(sync_client=True) as client:
        for wanted in automations:
            existing = client.read_automations_by_name(wanted.name)
            if not existing:
                client.create_automation(wanted)
                continue
            kept = wanted.model_copy(update={"enabled": existing[0].enabled})
            client.update_automation(existing[0].id, kept)
            for duplicate in existing[1:]:
                client.delete_automation(duplicate.id)
    return [wanted.name for wanted in automations]

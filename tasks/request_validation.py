"""Have stored checkpoints validated on another worker, by a deployment, while training goes on."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from dacapo_core.store.errors import MissingCheckpointError
from tasks.runtime.flow_runs import read_flow_runs
from tasks.runtime.open_stores import place_of
from tasks.runtime.prefect_client import brief_client
from tasks.runtime.protect_for_validation import PENDING_FOR
from tasks.runtime.provenance import who
from tasks.runtime.runs_in_training import LiveRun, live_run
from tasks.runtime.task_decorator import task
from tasks.runtime.validation_request_sender import ValidationRequestSender

LOOK_EVERY_SECONDS = 1.0
# what waits for SQLite in the server gives up after a minute
ASK_WITHIN_SECONDS = 90.0
START_WITHIN_SECONDS = 60.0
FINISH_WITHIN_SECONDS = 600.0


class ValidationDeploymentError(ValueError):
    """That deployment cannot validate checkpoints."""


@task("look for {deployment}")
def find_deployment(deployment: str) -> None:
    """Make sure that the deployment is there, and of the flow validate.

    Raises:
        ValidationDeploymentError: there is none, or it is of another flow; says the way out.
    """
    if deployment.partition("/")[0] != "validate":
        raise ValidationDeploymentError(
            f"validation_deployment {deployment!r} is not of the flow validate; name one that is, "
            "such as validate/checkpoint"
        )
    try:
        with brief_client(retries=2) as client:
            client.read_deployment_by_name(deployment)
    except (ObjectNotFound, ValueError) as error:
        raise ValidationDeploymentError(
            f"there is no deployment {deployment!r} on the Prefect server "
            f"{PREFECT_API_URL.value() or 'of this process'}: deploy it with "
            "`python -m deployments deploy`, or leave validation_deployment out to validate in "
            "place"
        ) from error
    except Exception as error:
        raise ValidationDeploymentError(
            f"validation_deployment {deployment!r} cannot be looked up: the Prefect server at "
            f"{PREFECT_API_URL.value()} does not answer ({error}). Start it, or leave "
            "validation_deployment out to validate in place"
        ) from error


@task("hand over {run}", at_iteration=True)
def request_validations(run: str, deployment: str) -> list[int]:
    """Ask for the validation of each stored checkpoint that lacks scores, and go on at once.

    They are protected from pruning until they are validated, for a day at most. A server that does
    not take a request is asked again while training goes on; see `ValidationRequestSender`.

    Returns:
        The iterations that were asked for.
    """
    live = live_run(run)
    if live.requests is None:
        live.requests = ValidationRequestSender(deployment)
    requests = live.requests
    _note_refusal(live, requests, "they are asked for again")
    iterations = []
    for iteration in live.unjudged():
        if iteration in requests.asked:
            continue
        try:
            live.store.request_validation(run, iteration, within=PENDING_FOR, by=who())
        except MissingCheckpointError:
            live.progress.note(f"{run}: checkpoint {iteration} was pruned before it was judged")
        else:
            iterations.append(iteration)
    if iterations:
        place = place_of(live.store)
        requests.ask(iterations, {"run": run, "iterations": iterations, "store": place})
    return iterations


@task("wait for validations of {run}")
def await_validations(run: str) -> list[int]:
    """Wait for the validations that were asked for, as long as `worth_waiting` says.

    Returns:
        The iterations that still lack scores; they may arrive later.
    """
    live = live_run(run)
    requests = live.requests
    if requests is None:
        return live.unjudged()
    live.progress.phase("waiting for validations")
    began = active = time.monotonic()
    taken: dict[UUID, list[int]] = {}
    left = live.unjudged()
    while True:
        before, taken, waiting = taken, requests.taken, bool(requests.waiting)
        # states before scores: a validation that has ended here has its scores below
        states = _states(
            [each for each, judges in taken.items() if not set(left).isdisjoint(judges)]
        )
        now = time.monotonic()
        if len(taken) > len(before) or any(
            each.is_running() or each.is_pending() for each in states
        ):
            active = now
        left = live.unjudged()
        if (
            not left
            or live.asked_to_end
            or not worth_waiting(states, waiting, now - began, now - active)
        ):
            _note_refusal(
                live,
                requests,
                f"starting the run again asks again, and so does the flow validate with run={run}",
            )
            return left
        time.sleep(LOOK_EVERY_SECONDS)


def worth_waiting(states: Sequence[State], asking: bool, waited: float, idle: float) -> bool:
    """Whether scores may still come while this process, and its GPU, stand idle for them.

    Args:
        states: of the validations that the server has taken.
        asking: whether there are some that it has not taken yet.
        waited: seconds since the last training step.
        idle: seconds since the server took one, or one was last seen running: where every worker
            is busy, this one had better be free.
    """
    if asking and waited < ASK_WITHIN_SECONDS:
        return True
    if states and all(state.is_final() for state in states):
        return False
    return waited < FINISH_WITHIN_SECONDS and idle < START_WITHIN_SECONDS


def _note_refusal(live: LiveRun, requests: ValidationRequestSender, what_next: str) -> None:
    if requests.waiting and requests.refusal is not None:
        live.progress.note(
            f"{live.name}: validation of {requests.waiting} not handed over yet "
            f"({requests.refusal}); {what_next}"
        )


def _states(flow_runs: Collection[UUID]) -> list[State]:
    """The states of validations; none while the server does not answer."""
    if not flow_runs:
        return []
    try:
        with brief_client() as client:
            found = read_flow_runs(client, flow_runs)
    except Exception:
        return []
    return [each.state for each in found if each.state is not None]

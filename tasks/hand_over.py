"""Validation beside training: a deployment judges stored checkpoints on another worker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import SettingsContext, get_settings_context
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from dacapo_core.store.records.scores import unjudged
from tasks.live_runs import LiveRun, live_run
from tasks.provenance import who
from tasks.step import step
from tasks.stores import open_store
from tasks.weights_store_block import PREFIX

PENDING_FOR = timedelta(days=1)
ATTEMPT_SECONDS = 5.0
# SQLite refuses a request now and then while other writes are under way
RETRIES = 5
LOOK_EVERY_SECONDS = 1.0
ASK_AGAIN_SECONDS = 10.0
START_WITHIN_SECONDS = 60.0
FINISH_WITHIN_SECONDS = 600.0

_asking = ThreadPoolExecutor(1, thread_name_prefix="hand-over")


class ValidationDeploymentError(ValueError):
    """Checkpoints cannot be handed to that deployment."""


@step("look for {deployment}")
def find_deployment(deployment: str) -> None:
    """Make sure that there is a deployment that can judge checkpoints.

    Raises:
        ValidationDeploymentError: there is none, or it is of another flow; says the way out.
    """
    if deployment.partition("/")[0] != "validate":
        raise ValidationDeploymentError(
            f"validation_deployment {deployment!r} is not of the flow validate; name one that is, "
            "such as validate/checkpoint"
        )
    try:
        with _briefly(), get_client(sync_client=True) as client:
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


@step("hand over {run}")
def hand_over(run: str, deployment: str, store: str) -> list[int]:
    """Ask for the validation of each stored checkpoint that has none, and go on at once.

    They cannot be pruned until they are judged, or for a day. Where the server did not answer,
    the next call says so and asks again.

    Returns:
        the iterations that were asked for.
    """
    return _ask(live_run(run), deployment, store)


@step("wait for validations of {run}")
def await_validations(run: str, deployment: str, store: str) -> list[int]:
    """Wait for what was handed over, within limits; see `worth_waiting`.

    What could not be handed over yet is tried again.

    Returns:
        the iterations that still have no scores; they may arrive later.
    """
    live = live_run(run)
    live.progress.phase("waiting for validations")
    began = active = asked = time.monotonic()
    while True:
        _note_answers(live)
        # first the states: what is judged when a validator is done is judged now
        states = _states(live)
        now = time.monotonic()
        if any(state.is_running() or state.is_pending() for state in states):
            active = now
        left = _unjudged(live)
        handed = {iteration for each in live.handed_over.values() for iteration in each}
        asking = not handed.issuperset(left)
        if not left or not worth_waiting(states, asking, now - began, now - active):
            return left
        if now - asked > ASK_AGAIN_SECONDS:
            asked = now
            _ask(live, deployment, store)
        time.sleep(LOOK_EVERY_SECONDS)


def worth_waiting(states: Sequence[State], asking: bool, waited: float, idle: float) -> bool:
    """Whether scores may still come while this process, and its GPU, stand idle for them.

    Args:
        states: of the validations that were handed over.
        asking: whether there is one that the server has not taken yet.
        waited: seconds since the last training step.
        idle: seconds since one of them was last seen at work: where every worker is busy, this
            one had better be free.
    """
    if states and not asking and all(state.is_final() for state in states):
        return False
    return waited < FINISH_WITHIN_SECONDS and idle < START_WITHIN_SECONDS


def same_everywhere(store: str) -> str:
    """A place that means the same on another worker: a whole path, a URL or a block."""
    return store if store.startswith(PREFIX) else open_store(store).basedir


def _ask(live: LiveRun, deployment: str, store: str) -> list[int]:
    """Have a thread ask the server, which takes longer than all else here, and may be busy."""
    _note_answers(live)
    asked = {
        iteration
        for each in (*live.handed_over.values(), *live.asked.values())
        for iteration in each
    }
    iterations = [iteration for iteration in _unjudged(live) if iteration not in asked]
    if not iterations:
        return []
    for iteration in iterations:
        live.store.request_validation(live.name, iteration, within=PENDING_FOR, by=who())
    parameters = {"run": live.name, "iterations": iterations, "store": same_everywhere(store)}
    # not the whole context: the flow's own client is closed with the flow
    answer = _asking.submit(_create_flow_run, get_settings_context(), deployment, parameters)
    live.asked[answer] = iterations
    return iterations


def _create_flow_run(
    settings: SettingsContext, deployment: str, parameters: dict[str, Any]
) -> UUID:
    here = SettingsContext(profile=settings.profile, settings=settings.settings)
    with here, _briefly(retries=RETRIES):
        # as a subflow it would cost two more requests, and leave a task run that waits
        child: FlowRun = run_deployment(  # type: ignore[assignment]
            deployment, parameters=parameters, timeout=0, as_subflow=False
        )
    return child.id


def _note_answers(live: LiveRun) -> None:
    """Take note of what the server has said so far; what it refused is asked for again."""
    for answer in [each for each in live.asked if each.done()]:
        iterations = live.asked.pop(answer)
        try:
            live.handed_over[answer.result()] = iterations
        except Exception as error:
            said = str(error).splitlines()[0]
            live.progress.note(
                f"{live.name}: validation of {iterations} not handed over yet: {said}"
            )


def _unjudged(live: LiveRun) -> list[int]:
    wanted = [dataset.name for dataset in live.run.validation_datasets]
    return unjudged(live.store.iterations(live.name), live.store.scores(live.name), wanted)


def _states(live: LiveRun) -> list[State]:
    """The last known states of the validations that were handed over; none without the server."""
    if not live.handed_over:
        return []
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(live.handed_over)))
    try:
        with _briefly(), get_client(sync_client=True) as client:
            found = client.read_flow_runs(flow_run_filter=wanted)
    except Exception:
        return []
    return [each.state for each in found if each.state is not None]


@contextmanager
def _briefly(retries: int = 0) -> Iterator[None]:
    """Attempts of a few seconds, where Prefect's client would try for a minute."""
    with temporary_settings(
        {PREFECT_CLIENT_MAX_RETRIES: retries, PREFECT_API_REQUEST_TIMEOUT: ATTEMPT_SECONDS}
    ):
        yield

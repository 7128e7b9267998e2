"""The flow that trains a grid of runs, each on a worker of its own, and compares them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelling

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.retention import RetentionPolicy
from flows.flow_decorator import completed, flow
from flows.flow_run_names import flow_run_name
from flows.scheduled_names import with_scheduled_name
from flows.sweep_grid import configured, expand
from flows.train import DEFAULT_RETENTION
from tasks.publish_comparison import publish_comparison
from tasks.runtime.artifacts import publisher
from tasks.runtime.flow_runs import read_flow_runs
from tasks.runtime.open_stores import open_store, store_url

CHILD = "train/default"
LOOK_EVERY_SECONDS = 5.0
CRASHED_FOR_GOOD = timedelta(minutes=15)

SWEPT = RunConfig(name="sweep", num_iterations=64, validation_interval=32)
GRID: dict[str, list[Any]] = {"learning_rate": [2e-3, 8e-3]}


class SweepFailedError(RuntimeError):
    """Some runs of the sweep did not complete; the others are compared."""


@flow("sweep", flow_run_name("sweep", with_scheduled_name))
def sweep(
    run: RunConfig = SWEPT,
    grid: dict[str, list[Any]] = GRID,
    store: str | None = None,
    retention: RetentionPolicy = DEFAULT_RETENTION,
) -> dict[str, str]:
    """Train every combination of a grid as a run of its own, and compare what they came to.

    Each run is a flow run of train/default and waits for a free worker; this one holds none of
    their GPUs. Started again, complete runs are not trained again, and a grid may be extended.

    Args:
        run: What all runs have in common. Its name begins theirs.
        grid: Field of the run configuration, dotted (trainer_config.weight_decay) → its values.
        store: Path or URL of the weights store, or "block:" and the name of a weights store
            block. Default: the one that the settings name.
        retention: Which checkpoints to keep; best, latest and pinned ones always are.

    Returns:
        Name of each run → the state it ended in.

    Raises:
        SweepGridError: the grid does not fit the run; nothing has been started.
        SweepFailedError: some runs did not complete; it names each with its reason.
    """
    run = with_scheduled_name(run)
    values = expand(run, grid)
    configs = {name: configured(run, name, each) for name, each in values.items()}
    place = store_url(store)
    open_store(place)
    children: dict[str, UUID] = {}
    try:
        for name, config in configs.items():
            children[name] = _begin(config, place, retention)
        get_run_logger().info("%d runs wait for workers: %s", len(children), ", ".join(children))
        ended = _wait(children)
    except BaseException:
        _cancel(children)
        raise
    states = {
        name: "Deleted" if each is None else each.state_name or "Unknown"
        for name, each in ended.items()
    }
    with publisher.caught_up():
        ids = {name: str(id) for name, id in children.items()}
        publish_comparison(run.name, values, states, ids, place)
    failed = {
        name: (each and each.state and each.state.message) or states[name]
        for name, each in ended.items()
        if not (each and each.state and each.state.is_completed())
    }
    if failed:
        raise SweepFailedError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    return completed(f"{len(states)} runs completed and compared: {', '.join(states)}", states)


def _begin(config: RunConfig, store: str, retention: RetentionPolicy) -> UUID:
    child = run_deployment(  # type: ignore[call-arg]
        CHILD,
        parameters={
            "run": config.model_dump(mode="json"),
            "store": store,
            "retention": retention.model_dump(mode="json"),
        },
        timeout=0,
        idempotency_key=f"{flow_run.id}-{flow_run.run_count}-{config.name}",
        _sync=True,
    )
    return cast(FlowRun, child).id


def _wait(children: Mapping[str, UUID]) -> dict[str, FlowRun | None]:
    """All children in their last state, None where one was deleted.

    One request for all of them every few seconds.
    """
    with get_client(sync_client=True) as client:
        while True:
            read = _read(client, children.values())
            now = datetime.now(UTC)
            if read is not None and all(ended(each, now) for each in read):
                found = {each.id: each for each in read}
                return {name: found.get(id) for name, id in children.items()}
            time.sleep(LOOK_EVERY_SECONDS)


def _read(client: SyncPrefectClient, ids: Collection[UUID]) -> list[FlowRun] | None:
    """None while the server is away: the children train on, and so they are not given up."""
    try:
        return read_flow_runs(client, ids)
    except Exception as error:
        get_run_logger().warning("the server does not say how the runs are, asked again: %s", error)
        return None


def ended(child: FlowRun, now: datetime) -> bool:
    """Whether a run will go no further; a crashed one may yet be scheduled again."""
    state = child.state
    if state is None or not state.is_final():
        return False
    return not state.is_crashed() or now - state.timestamp > CRASHED_FOR_GOOD


def _cancel(children: Mapping[str, UUID]) -> None:
    """Ask the children that are not done to stop; best effort, the sweep is ending itself."""
    with get_client(sync_client=True) as client:
        for id in children.values():
            try:
                if not (state := client.read_flow_run(id).state) or not state.is_final():
                    client.set_flow_run_state(id, Cancelling(message="Its sweep was stopped."))
            except Exception as error:
                get_run_logger().warning("run %s may go on: %s", id, error)

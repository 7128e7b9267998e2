"""Keep a run's overview in its store, and publish the page of the whole store."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from dacapo_core.settings import get_settings
from tasks.pages.store_page import StoreRun, store_page
from tasks.runtime.artifacts import publisher
from tasks.runtime.flow_runs import read_flow_runs
from tasks.runtime.prefect_client import brief_client
from tasks.runtime.ui_paths import artifact_key, page_path

if TYPE_CHECKING:
    from dacapo_core.store.metadata_store import MetadataStore
    from dacapo_core.store.records.run_overview import RunOverview, TrainingNote

KEY = "store"

_lock = threading.Lock()
# store → run → its training status, of the overviews that are to be written
_changed: dict[str, dict[str, TrainingNote | None]] = {}


def publish_store(run: str, store: MetadataStore, training: TrainingNote | None = None) -> None:
    """Bring a run's overview and the page of its store up to date; nobody waits for that.

    Args:
        training: where its training is; None leaves it as it was last noted.
    """
    with _lock:
        changed = _changed.setdefault(store.basedir, {})
        changed[run] = training or changed.get(run)
    publisher.page(
        store_key(store.basedir),
        lambda: _updated_page(store.on_record()),
        f"All runs of {store.basedir}",
        shared=True,
    )


def store_key(basedir: str) -> str:
    """The key of a store's page: ``store`` for the one that the settings name."""
    from dacapo_core.store.metadata_store import MetadataStore

    settings = get_settings()
    ours = MetadataStore(settings.runs_base_dir, settings.storage_options).basedir
    return KEY if basedir == ours else artifact_key(KEY, basedir)


def _updated_page(store: MetadataStore) -> str:
    with _lock:
        changed = _changed.pop(store.basedir, {})
    for run, training in changed.items():
        # the run may have been deleted meanwhile
        with suppress(FileNotFoundError):
            _update_overview(store, run, training)
    overviews = store.overviews()
    states, next_prune = _ask_server(overviews.values())
    return store_page(
        store.basedir,
        [StoreRun(run, overview, _state(overview, states)) for run, overview in overviews.items()],
        datetime.now(UTC),
        next_prune,
    )


def _update_overview(store: MetadataStore, run: str, training: TrainingNote | None) -> None:
    from dacapo_core.store.records.run_overview import RunOverview, best_note, checkpoints_note

    checkpoints = checkpoints_note(store.history(run).checkpoints.values())
    best = best_note(store.best_records(run))
    pages = {}
    for kind in ("report", "pruning"):
        if (address := publisher.address(artifact_key(kind, run))) is not None:
            pages[kind] = address
    # read as late as can be: another process may have noted its training meanwhile
    before = store.overviews([run])[run]
    first = {kind: page_path(kind, run) for kind in ("report", "pruning")}
    known = before or RunOverview(pages=first)
    now = RunOverview(
        training=later_note(known.training, training),
        best=best,
        checkpoints=checkpoints,
        pages=known.pages | pages,
    )
    # new paths of pages alone are not written: the old ones lead to them
    if before is None or now.model_copy(update={"pages": before.pages}) != before:
        store.store_overview(run, now)


def later_note(before: TrainingNote | None, said: TrainingNote | None) -> TrainingNote | None:
    """The newer of two notes; a run that was complete before keeps the note of when it was."""
    if said is None:
        return before
    if before is not None and before.state == said.state == "complete":
        same = (before.iteration, before.num_iterations) == (said.iteration, said.num_iterations)
        return before if same else said
    return said


def _state(overview: RunOverview | None, states: dict[str, str]) -> str | None:
    training = overview.training if overview else None
    return states.get(training.flow_run) if training and training.flow_run else None


def _ask_server(
    overviews: Iterable[RunOverview | None],
) -> tuple[dict[str, str], datetime | None]:
    """Flow run → its state, of runs in training; and when the next prune is due; best effort."""
    training = [
        each.training.flow_run
        for each in overviews
        if each and each.training and each.training.state == "training" and each.training.flow_run
    ]
    try:
        with brief_client() as client:
            return _states(client, training), _next_prune(client)
    except Exception:
        return {}, None


def _states(client: SyncPrefectClient, flow_runs: list[str]) -> dict[str, str]:
    ids = [UUID(each) for each in flow_runs]
    known = {each.id: each for each in read_flow_runs(client, ids)}
    return {
        str(id): (known[id].state_name or "Running") if id in known else "Deleted" for id in ids
    }


def _next_prune(client: SyncPrefectClient) -> datetime | None:
    found = client.read_flow_runs(
        flow_filter=FlowFilter(name={"any_": ["prune"]}),
        deployment_filter=DeploymentFilter(name={"any_": ["nightly"]}),
        flow_run_filter=FlowRunFilter(state={"type": {"any_": [StateType.SCHEDULED]}}),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    return found[0].expected_start_time if found else None

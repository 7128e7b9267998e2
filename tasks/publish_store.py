"""Keep a run's overview in its store, and publish the page of the whole store."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from dacapo_core.settings import get_settings
from tasks.pages.store_page import StoreRun, store_page
from tasks.runtime.artifacts import artifact_key, page_path, publisher

if TYPE_CHECKING:
    from dacapo_core.store.metadata_store import MetadataStore
    from dacapo_core.store.records.run_overview import RunOverview, TrainingNote

KEY = "store"
ATTEMPT_SECONDS = 5.0
STATES_AT_ONCE = 200

_lock = threading.Lock()
# store → run → what its training last said, of overviews that are to be written
_changed: dict[str, dict[str, TrainingNote | None]] = {}


def publish_store(run: str, store: MetadataStore, training: TrainingNote | None = None) -> None:
    """Bring a run's overview and the page of its store to what there is; nobody waits for that.

    Args:
        training: where its training is; None leaves what was last said of it.
    """
    with _lock:
        changed = _changed.setdefault(store.basedir, {})
        changed[run] = training or changed.get(run)
    publisher.page(
        store_key(store.basedir),
        lambda: _made(store.on_record()),
        f"All runs of {store.basedir}",
        shared=True,
    )


def store_key(basedir: str) -> str:
    """The key of a store's page: ``store`` for the one that the settings name."""
    from dacapo_core.store.metadata_store import MetadataStore

    settings = get_settings()
    ours = MetadataStore(settings.runs_base_dir, settings.storage_options).basedir
    return KEY if basedir == ours else artifact_key(KEY, basedir)


def _made(store: MetadataStore) -> str:
    with _lock:
        changed = _changed.pop(store.basedir, {})
    for run, training in changed.items():
        # it may be gone meanwhile
        with suppress(FileNotFoundError):
            _bring_up_to_date(store, run, training)
    overviews = store.overviews()
    states, next_prune = _asked(overviews.values())
    return store_page(
        store.basedir,
        [StoreRun(run, overview, _state(overview, states)) for run, overview in overviews.items()],
        datetime.now(UTC),
        next_prune,
    )


def _bring_up_to_date(store: MetadataStore, run: str, training: TrainingNote | None) -> None:
    from dacapo_core.store.records.run_overview import RunOverview, best_note, checkpoints_note

    held = checkpoints_note(store.history(run).checkpoints.values())
    best = best_note(store.best_records(run))
    pages = {}
    for kind in ("report", "pruning"):
        if (address := publisher.address(artifact_key(kind, run))) is not None:
            pages[kind] = address
    # as late as can be: another process may have said more of its training meanwhile
    before = store.overviews([run])[run]
    first = {kind: page_path(kind, run) for kind in ("report", "pruning")}
    known = before or RunOverview(pages=first)
    now = RunOverview(
        training=later_note(known.training, training),
        best=best,
        checkpoints=held,
        pages=known.pages | pages,
    )
    # where the pages are is no news by itself: those of before lead to them
    if before is None or now.model_copy(update={"pages": before.pages}) != before:
        store.store_overview(run, now)


def later_note(before: TrainingNote | None, said: TrainingNote | None) -> TrainingNote | None:
    """What is known of a run's training; that it is complete is news once."""
    if said is None:
        return before
    if before is not None and before.state == said.state == "complete":
        same = (before.iteration, before.num_iterations) == (said.iteration, said.num_iterations)
        return before if same else said
    return said


def _state(overview: RunOverview | None, states: dict[str, str]) -> str | None:
    training = overview.training if overview else None
    return states.get(training.flow_run) if training and training.flow_run else None


def _asked(
    overviews: Iterable[RunOverview | None],
) -> tuple[dict[str, str], datetime | None]:
    """Flow run → its state, of those that train; when the store is pruned next; best effort."""
    training = [
        each.training.flow_run
        for each in overviews
        if each and each.training and each.training.state == "training" and each.training.flow_run
    ]
    try:
        with _brief_client() as client:
            return _states(client, training), _next_prune(client)
    except Exception:
        return {}, None


def _states(client: SyncPrefectClient, flow_runs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for first in range(0, len(flow_runs), STATES_AT_ONCE):
        ids = [UUID(each) for each in flow_runs[first : first + STATES_AT_ONCE]]
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=ids))
        known = client.read_flow_runs(flow_run_filter=wanted, limit=STATES_AT_ONCE)
        states = {each.id: each.state_name or "Running" for each in known}
        found |= {str(id): states.get(id, "Deleted") for id in ids}
    return found


def _next_prune(client: SyncPrefectClient) -> datetime | None:
    scheduled = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    found = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["prune"])),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["nightly"])),
        flow_run_filter=FlowRunFilter(state=scheduled),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    return found[0].expected_start_time if found else None


@contextmanager
def _brief_client() -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings(
            {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: ATTEMPT_SECONDS}
        ),
        get_client(sync_client=True) as client,
    ):
        yield client

"""The versions of a page on the Prefect server: one for each flow run, changed in place.

Prefect's client makes an event of each version and each change, which holds the whole page: its
requests are made here without.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort

from tasks.pages.page_age import as_of, replaced

MOST_DRAWS = 16


def artifact_path(id: UUID) -> str:
    """Where the UI shows one version of a page, with its content."""
    return f"/v2/artifacts/artifact/{id}"


def newest_version(
    client: SyncPrefectClient, key: str, flow_run: UUID | None = None
) -> Artifact | None:
    """The version of a page or table that was changed last, of all or of those of a flow run."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    if flow_run is not None:
        wanted.flow_run_id = ArtifactFilterFlowRunId(any_=[flow_run])
    found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.UPDATED_DESC, limit=1)
    return found[0] if found else None


def put(client: SyncPrefectClient, page: ArtifactCreate, *, leads: bool) -> UUID:
    """Show a page, in the place of what its flow run showed under its key.

    What another flow run shows there is given a link to it.

    Args:
        leads: it is the first of its flow run's pages in the UI.

    Returns:
        its id.
    """
    if page.type == "markdown":
        page = page.model_copy(update={"data": as_of(str(page.data), datetime.now(UTC))})
    assert page.key is not None
    newest = newest_version(client, page.key)
    if newest is None or newest.flow_run_id == page.flow_run_id:
        mine = newest
    else:
        mine = newest_version(client, page.key, page.flow_run_id)
    id = _create(client, page, leads=leads) if mine is None else mine.id
    if newest is not None and newest.id != id and newest.type == "markdown":
        notice = replaced(str(newest.data), artifact_path(id))
        if notice is not None:
            _change(client, newest.id, data=notice)
    if newest is not None:
        # last, so that it is the one that was changed last
        _change(client, id, data=page.data, description=page.description)
    return id


def _create(client: SyncPrefectClient, page: ArtifactCreate, *, leads: bool) -> UUID:
    """The id of a new version.

    The UI shows the pages of a flow run by their ids, the highest first, and the server draws
    ids at random: it is asked until that of a page that leads is in their upper half, that of any
    other in the lower.
    """
    asked = page.model_dump(mode="json", exclude_unset=True)
    for _ in range(MOST_DRAWS):
        id = UUID(client.request("POST", "/artifacts/", json=asked).json()["id"])
        if (id.int >> 127 == 1) == leads:
            break
        client.request("DELETE", "/artifacts/{id}", path_params={"id": id})
    else:
        id = UUID(client.request("POST", "/artifacts/", json=asked).json()["id"])
    return id


def _change(client: SyncPrefectClient, id: UUID, **values: Any) -> None:
    client.request("PATCH", "/artifacts/{id}", path_params={"id": id}, json=values)

"""The versions of a page on the Prefect server: one for each flow run, changed in place.

Prefect's own functions emit an event with the whole page for each version and change; these
requests do not.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort

from tasks.pages.page_age import as_of, replaced
from tasks.runtime.ui_paths import KEY_PATH, artifact_path

MOST_DRAWS = 16
KEY_LINK = re.compile(rf"(?<=\]\(){KEY_PATH}([a-z0-9-]+)(?=\))")


def newest_version(
    client: SyncPrefectClient, key: str, flow_run: UUID | None = None
) -> Artifact | None:
    """The version of a page or table that was changed last, among all or those of a flow run."""
    of = None if flow_run is None else {"any_": [flow_run]}
    wanted = ArtifactFilter(key={"any_": [key]}, flow_run_id=of)
    found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.UPDATED_DESC, limit=1)
    return found[0] if found else None


def put(client: SyncPrefectClient, page: ArtifactCreate, *, leads: bool) -> UUID:
    """Show a page or table, in the place of what its flow run showed under its key.

    What another flow run shows there is given a link to it. Links of a flow run's page to other
    pages by their key lead to the version that is newest now.

    Args:
        leads: it is the first of its flow run's pages in the UI.

    Returns:
        The id of its version.
    """
    if page.type == "markdown":
        data = as_of(str(page.data), datetime.now(UTC))
        if page.flow_run_id is not None:
            data = _with_direct_links(client, data)
        page = page.model_copy(update={"data": data})
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


def _with_direct_links(client: SyncPrefectClient, markdown: str) -> str:
    def direct(link: re.Match[str]) -> str:
        newest = newest_version(client, link[1])
        return link[0] if newest is None else artifact_path(newest.id)

    return KEY_LINK.sub(direct, markdown)


def _create(client: SyncPrefectClient, page: ArtifactCreate, *, leads: bool) -> UUID:
    """Make a new version and return its id.

    The UI sorts the pages of a flow run by their ids, the highest first, and the server draws ids
    at random. So versions are made until the id is in the upper half for a page that leads, in the
    lower half for any other.
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

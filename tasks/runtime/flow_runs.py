"""Flow runs as the Prefect server knows them."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun

# the server answers with no more, whatever is asked for
AT_ONCE = 200


def read_flow_runs(client: SyncPrefectClient, ids: Collection[UUID]) -> list[FlowRun]:
    """Those of `ids` that the server has, however many; a deleted one is left out."""
    wanted = list(ids)
    found: list[FlowRun] = []
    for first in range(0, len(wanted), AT_ONCE):
        some = FlowRunFilter(id={"any_": wanted[first : first + AT_ONCE]})
        found += client.read_flow_runs(flow_run_filter=some, limit=AT_ONCE)
    return found

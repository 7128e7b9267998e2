"""The work pool that all deployments share."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from deployments.worker_places import LIGHT_QUEUE, WORK_POOL


def ensure_work_pool() -> None:
    """Create the pool, of processes, where the server has none; a site's own stays as it is."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(WORK_POOL)
        except ObjectNotFound:
            client.create_work_pool(
                WorkPoolCreate(
                    name=WORK_POOL,
                    type=ProcessWorker.type,
                    description="One run at a time on each GPU; queue light needs none.",
                    base_job_template=ProcessWorker.get_default_base_job_template(),
                )
            )


def require_work_pool() -> None:
    """Leave with the way out when the server does not have the pool and its queues."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_queue_by_name(LIGHT_QUEUE, work_pool_name=WORK_POOL)
        except ObjectNotFound:
            raise SystemExit(
                f"the Prefect server has no work pool {WORK_POOL!r} with a queue {LIGHT_QUEUE!r}; "
                "`python -m deployments deploy` makes them"
            ) from None

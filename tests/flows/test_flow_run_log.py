"""What the library logs while a flow runs is in that flow run's log."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.sorting import FlowRunSort

from dacapo_core.experiments.run_config import RunConfig
from flows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.prefect]


def test_where_volumes_are_kept_is_said_once_each(
    prefect_server: str, tmp_path: Path, tiny: RunConfig
) -> None:
    train(tiny, str(tmp_path))
    kept: list[str] = []
    until = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        newest = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)[0]
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[newest.id]))
        while not kept and time.monotonic() < until:
            lines = [each.message for each in client.read_logs(wanted, limit=200)]
            kept = [line for line in lines if line.startswith("volume '")]
            time.sleep(0.1)
    volumes = {line.partition(":")[0] for line in kept}
    assert len(kept) == len(volumes) >= 1
    assert all("in host memory" in line for line in kept)

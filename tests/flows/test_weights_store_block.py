"""A store by the name of a block: it opens with the block's credentials, which appear nowhere."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import get_client
from prefect.types import SecretDict

from dacapo_core.experiments.starts import StartConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from flows.embedded_prefect import send_what_is_queued
from flows.finetune import finetune
from flows.prune import prune
from flows.train import train
from tasks.runtime.weights_store_block import WeightsStoreBlock

if TYPE_CHECKING:
    from dacapo_core.experiments.run_config import RunConfig

pytestmark = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.s3]


def all_that_is_shown() -> str:
    """Every flow run, log line, artifact and event of the server, and the block as it shows it."""
    with get_client(sync_client=True) as client:
        shown: list[Any] = [
            client.request("POST", f"/{kind}/filter", json={}).json()
            for kind in ("flow_runs", "task_runs", "logs", "artifacts", "events")
        ]
        shown.append(
            client.request("GET", "/block_types/slug/weights-store/block_documents/name/lab").json()
        )
    return json.dumps(shown)


def stores_of_events(run: str) -> set[str]:
    """The stores that the events about a run name."""
    wanted = {"filter": {"resource": {"id": [f"dacapo.run.{run}"]}}}
    send_what_is_queued()
    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while True:
            found = client.request("POST", "/events/filter", json=wanted).json()["events"]
            if found or time.monotonic() > deadline:
                return {each["payload"]["store"] for each in found}
            time.sleep(0.5)


def test_a_run_is_trained_into_a_store_by_name_and_started_from_it_and_no_secret_is_shown(
    prefect_server: str,
    s3_server: Any,
    tiny: RunConfig,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = s3_server.new_folder() + "/runs"
    options = s3_server.storage_options
    WeightsStoreBlock(url=url, storage_options=SecretDict(options)).save("lab")

    # the server is shared: other tests tell events of a run "tiny"
    parent = tiny.model_copy(update={"name": "in_lab", "num_iterations": 2})
    summary = train(parent, "block:lab")
    assert summary.store == url
    store = LocalWeightsStore(url, options)
    assert store.latest_iteration("in_lab", verified=True) == 2
    assert prune(store="block:lab", dry_run=True) == {"in_lab": []}

    start = StartConfig(run="in_lab", criterion="latest", store_url="block:lab")
    child = parent.model_copy(update={"name": "child", "start_config": start})
    finetune(child, None, str(tmp_path))
    report = LocalWeightsStore(tmp_path).start_report("child")
    assert report is not None
    assert (report["store_url"], report["body_share_loaded"]) == ("block:lab", 1)
    # it was pinned while the child had no checkpoint, with the block's credentials
    assert store.pins("in_lab") == {}

    shown = all_that_is_shown()
    assert url in shown
    assert "block:lab" in shown
    # an automation hands the store of an event to a deployment, which must be able to open it
    assert stores_of_events("in_lab") == {"block:lab"}
    said = capfd.readouterr()
    for place in (shown, said.out, said.err, caplog.text):
        assert options["secret"] not in place


@pytest.mark.parametrize("url", ["runs", "./runs", ""])
def test_a_url_that_depends_on_the_folder_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="path or a URL"):
        WeightsStoreBlock(url=url)

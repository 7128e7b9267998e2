"""What is deployed, from where, and that a worker runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dacapo_core.store.local_weights_store import LocalWeightsStore

if TYPE_CHECKING:
    from tests.deployments.conftest import Site

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

DEPLOYMENTS = [
    "train/default",
    "train/weekly",
    "finetune/cosem",
    "validate/checkpoint",
    "prune/nightly",
    "sweep/grid",
]
REPOSITORY = Path(__file__).resolve().parents[2]

TINY: dict[str, Any] = {
    "name": "deployed",
    "num_iterations": 2,
    "validation_interval": 1,
    "num_workers": 0,
    "architecture_config": {
        "type": "cnnectome_unet",
        "input_shape": [16, 16, 16],
        "num_fmaps": 4,
        "fmaps_out": 4,
        "downsample_factors": [[2, 2, 2]],
        "padding": "same",
    },
    "task_config": {"type": "one_hot", "channels": ["mito", "pm"], "thresholds": [0.5]},
    "trainer_config": {"warmup_iterations": 1},
    "datasplit_config": {"type": "synthetic", "shape": [24, 24, 24], "num_train": 1},
}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_no_folder_of_the_deployer_is_on_the_server(site: Site, name: str) -> None:
    deployment = site.get(f"deployments/name/{name}")
    assert deployment["pull_steps"] == []
    assert deployment["path"] is None
    assert str(REPOSITORY) not in json.dumps(deployment)
    assert deployment["description"]
    assert deployment["enforce_parameter_schema"]
    assert deployment["tags"]


def test_deploying_again_duplicates_nothing(site: Site) -> None:
    before = [automation["name"] for automation in site.post("automations/filter", {})]
    assert len(before) == len(set(before)) >= 2
    again = site.run("deployments", "deploy")
    assert again.returncode == 0, again.stdout
    after = [automation["name"] for automation in site.post("automations/filter", {})]
    assert sorted(after) == sorted(before)
    (schedule,) = site.get("deployments/name/prune/nightly")["schedules"]
    assert schedule["slug"] == "nightly"
    assert schedule["active"]


def test_the_run_form_is_typed_and_described(site: Site) -> None:
    schema = site.get("deployments/name/train/default")["parameter_openapi_schema"]
    run = schema["definitions"]["RunConfig"]["properties"]
    assert run["num_iterations"]["description"]
    tabs = run["start_config"]["anyOf"][0]["discriminator"]["mapping"]
    assert set(tabs) == {"run", "cosem"}
    assert schema["properties"]["retention"]["description"]


def test_bad_parameters_are_refused_before_anything_runs(site: Site) -> None:
    refused = site.run(
        "prefect", "deployment", "run", "train/default", "--param", 'run={"num_iteration": 2}'
    )
    assert refused.returncode != 0
    assert "num_iteration" in refused.stdout


@pytest.fixture(scope="module")
def trained(site: Site) -> str:
    """A run that a worker trained; its name."""
    site.start("deployments", "worker")
    done = site.run(
        *("prefect", "deployment", "run", "train/default", "--watch"),
        *("--param", f"run={json.dumps(TINY)}"),
    )
    assert done.returncode == 0, done.stdout + site.log()
    return str(TINY["name"])


def test_a_worker_trains_a_deployed_run(site: Site, trained: str) -> None:
    store = LocalWeightsStore(site.folder / "runs")
    assert store.latest_iteration("deployed") == 2
    assert {record.iteration for record in store.scores("deployed")} == {1, 2}

    (flow_run,) = site.post(
        "flow_runs/filter", {"flow_runs": {"name": {"any_": ["train deployed"]}}}
    )
    tasks = site.post("task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run["id"]]}}})
    names = [task["name"] for task in tasks]
    assert {"train deployed until 1", "store deployed 2", "validate deployed 2"} <= set(names)
    assert len([name for name in names if name.startswith(("begin", "report"))]) == 3
    artifacts = site.post("artifacts/latest/filter", {})
    assert {"pruning-deployed", "report-deployed"} <= {each["key"] for each in artifacts}


def latest(site: Site, key: str) -> str:
    """The path of the newest version of an artifact's page."""
    (found,) = [each for each in site.post("artifacts/latest/filter", {}) if each["key"] == key]
    return f"/v2/artifacts/artifact/{found['latest_id']}"


def form(site: Site) -> str:
    """The path of the form that runs train/default."""
    deployment = site.get("deployments/name/train/default")
    return f"/v2/deployments/deployment/{deployment['id']}/run"


def events(site: Site) -> str:
    """The path of the run's events, once the feed shows them: it ends with the last full minute."""
    wanted = {"filter": {"resource": {"id": ["dacapo.run.deployed"]}}}
    deadline = time.monotonic() + 150
    while True:
        times = [each["occurred"] for each in site.post("events/filter", wanted)["events"]]
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        if times and max(map(datetime.fromisoformat, times)) < minute:
            break
        assert time.monotonic() < deadline, f"the server has no event of the run: {times}"
        time.sleep(1)
    return "/v2/events?resource=%5B%22dacapo.run.deployed%22%5D"


PICTURE = "data:image/svg+xml;base64,"
PAGES: dict[str, tuple[Callable[[Site], str], list[str]]] = {
    "form": (form, ["Iterations to train for.", "Which checkpoints to keep"]),
    "report": (
        lambda site: latest(site, "report-deployed"),
        ["iteration 2 of 2", "Scores on held-out data", PICTURE],
    ),
    "pruning": (
        lambda site: latest(site, "pruning-deployed"),
        ["Checkpoints of deployed", "Disk use", PICTURE],
    ),
    "events": (
        events,
        ["dacapo.checkpoint.stored", "dacapo.checkpoint.best"],
    ),
}


@pytest.mark.browser
@pytest.mark.parametrize("page", PAGES)
def test_a_browser_shows_the_page(site: Site, trained: str, page: str, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here")
    path, expected = PAGES[page]
    shown = subprocess.run(
        [
            *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *(f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000"),
            site.api_url.removesuffix("/api") + path(site),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ).stdout
    assert [text for text in expected if text not in shown] == []
    assert "Something went wrong" not in shown


def test_without_a_server_the_way_out_is_said(site: Site) -> None:
    environment = site.environment | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    refused = subprocess.run(
        [sys.executable, "-m", "deployments", "deploy"],
        cwd=site.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "python -m deployments server" in refused.stderr
    assert "Traceback" not in refused.stderr

"""What is deployed, from where, and that a worker runs it."""

from __future__ import annotations

import json
import sys
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


def test_a_worker_trains_a_deployed_run(site: Site) -> None:
    site.start("deployments", "worker")
    done = site.run(
        *("prefect", "deployment", "run", "train/default", "--watch"),
        *("--param", f"run={json.dumps(TINY)}"),
    )
    assert done.returncode == 0, done.stdout + site.log()
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


def test_without_a_server_the_way_out_is_said(site: Site) -> None:
    import subprocess

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

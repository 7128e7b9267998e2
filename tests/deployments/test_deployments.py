"""What is deployed, and from where."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.deployments.browser import browser, chromium
from tests.deployments.site import Site

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


@dataclass(frozen=True)
class Again:
    """What was there before a second deployment, and what that said."""

    automations_before: list[str]
    said: str


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_no_folder_of_the_deployer_is_on_the_server(site: Site, name: str) -> None:
    deployment = site.get(f"deployments/name/{name}")
    assert deployment["pull_steps"] == []
    assert deployment["path"] is None
    assert str(REPOSITORY) not in json.dumps(deployment)
    assert deployment["enforce_parameter_schema"]
    assert deployment["tags"]
    # whatever is started by hand would have it too; Prefect tags what a schedule starts
    assert "scheduled" not in deployment["tags"]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_is_described_by_the_prose_of_its_flow(site: Site, name: str) -> None:
    flow = name.partition("/")[0]
    docstring = inspect.getdoc(getattr(import_module(f"flows.{flow}"), flow).fn)
    assert docstring is not None
    description = site.get(f"deployments/name/{name}")["description"]
    if name == "train/weekly":
        assert "switch its schedule on" in description
    else:
        assert docstring.startswith(description)
        assert docstring[len(description) :].startswith("\n\nArgs:\n")


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_form_shows_no_markup_for_two_backticks(site: Site, name: str) -> None:
    schema = site.get(f"deployments/name/{name}")["parameter_openapi_schema"]
    assert [line for line in json.dumps(schema, indent=1).splitlines() if "``" in line] == []


@pytest.fixture(scope="module")
def deployed_again(site: Site) -> Again:
    """The deployments applied once more: it takes ten seconds."""
    before = automations(site)
    again = site.run("deployments", "deploy")
    assert again.returncode == 0, again.stdout
    return Again(before, again.stdout)


def automations(site: Site) -> list[str]:
    return [automation["name"] for automation in site.post("automations/filter", {})]


def test_deploying_again_duplicates_nothing(site: Site, deployed_again: Again) -> None:
    before = deployed_again.automations_before
    assert len(before) == len(set(before)) >= 2
    # what to do next comes last, and Prefect's advice, which is for other workers, not at all
    last = deployed_again.said.partition("\nnext:\n")[2].splitlines()
    assert "python -m deployments worker" in last[0]
    assert "prefect deployment run" in last[1]
    assert last[-1].startswith("where everything is: http")
    assert "prefect worker start" not in deployed_again.said
    assert [
        line for line in DEPLOYMENTS if f"deployment: {line}\n" not in deployed_again.said
    ] == []
    assert sorted(automations(site)) == sorted(before)
    (schedule,) = site.get("deployments/name/prune/nightly")["schedules"]
    assert schedule["slug"] == "nightly"
    assert schedule["active"]


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="no Chromium here")
def test_the_address_that_deploy_prints_stays_and_shows_the_links(
    site: Site, deployed_again: Again, tmp_path: Path
) -> None:
    says = "where everything is: "
    first, second = (
        said.partition(says)[2].split()[0] for said in (site.deployed, deployed_again.said)
    )
    assert first == second
    with browser(tmp_path) as page:
        page.open(first)
        page.shows("DaCapo: where everything is", "finetune/cosem", "event feed")
        page.click("report-", "a")
        page.shows("All Types")
        assert page.run("location.pathname + location.search") == "/v2/artifacts?name=report-"
        assert page.errors == []


def test_the_run_form_is_typed_and_described(site: Site) -> None:
    schema = site.get("deployments/name/train/default")["parameter_openapi_schema"]
    run = schema["definitions"]["RunConfig"]["properties"]
    assert run["num_iterations"]["description"]
    tabs = run["start_config"]["anyOf"][0]["discriminator"]["mapping"]
    assert set(tabs) == {"run", "cosem"}
    assert schema["properties"]["retention"]["description"]
    pruning = site.get("deployments/name/prune/nightly")["parameter_openapi_schema"]
    assert list(pruning["properties"]) == ["runs", "policy", "dry_run", "store"]
    assert pruning["properties"]["policy"]["description"]


def test_bad_parameters_are_refused_before_anything_runs(site: Site) -> None:
    refused = site.run(
        "prefect", "deployment", "run", "train/default", "--param", 'run={"num_iteration": 2}'
    )
    assert refused.returncode != 0
    assert "num_iteration" in refused.stdout


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_parameter_that_the_flow_does_not_have_is_refused_at_once(site: Site, name: str) -> None:
    needed = {"run": "any"} if name == "validate/checkpoint" else {}
    with pytest.raises(HTTPError) as refused:
        site.deployment_run(name, **needed, policyy={"keep_last": 1})
    assert refused.value.code == 409
    assert "'policyy' was unexpected" in refused.value.read().decode()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"policy": {"keep_last": 1, "grace": "7 fortnights"}}, "policy.grace"),
        ({"policy": {"keep_last": 1, "minimum_age": "soon"}}, "policy.minimum_age"),
        ({"policy": {"max_total_size": "12 apples"}}, "policy.max_total_size"),
        ({"runs": []}, "runs"),
        ({"runs": ""}, "runs"),
    ],
)
def test_what_pruning_could_not_understand_is_refused_at_once(
    site: Site, given: dict[str, object], field: str
) -> None:
    with pytest.raises(HTTPError) as refused:
        site.deployment_run("prune/nightly", **given)
    assert refused.value.code == 409
    assert f"'{field}'" in refused.value.read().decode()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("mito-*", "mito-*"), ('["mito", "er"]', ["mito", "er"])],
    ids=["pattern", "list"],
)
def test_runs_to_prune_are_typed_as_a_pattern_or_a_list(
    site: Site, typed: str, meant: object
) -> None:
    asked = site.run(
        *("prefect", "deployment", "run", "prune/nightly", "--param", f"runs={typed}"),
        *("--param", 'policy={"keep_last": 2, "grace": "7d"}', "--param", "dry_run=true"),
    )
    assert asked.returncode == 0, asked.stdout
    (id,) = [
        line.split("UUID:")[1].strip() for line in asked.stdout.splitlines() if "UUID:" in line
    ]
    assert site.flow_run(id)["parameters"]["runs"] == meant
    site.cancel(id)


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

"""Recipes that a site fills in are at least what their readers can read."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deployments.site import Site

RECIPES = Path(__file__).resolve().parents[2] / "deployments" / "recipes"


@pytest.mark.parametrize("name", ["docker.json", "kubernetes.json"])
def test_every_placeholder_of_a_job_template_is_a_variable(name: str) -> None:
    template = json.loads((RECIPES / name).read_text())
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_the_server_takes_a_job_template(site: Site, kind: str) -> None:
    template = json.loads((RECIPES / f"{kind}.json").read_text())
    pool = {"name": f"of-{kind}", "type": kind, "base_job_template": template}
    assert site.post("work_pools/", pool)["base_job_template"] == template


@pytest.mark.parametrize(
    "name", ["dacapo-server.service", "dacapo-workers.service", "dacapo-worker@.service"]
)
def test_a_unit_starts_a_command_of_ours(name: str) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.read_string((RECIPES / name).read_text())
    assert re.fullmatch(
        r"\S+/python -m deployments (server|worker( --device %i)?)", unit["Service"]["ExecStart"]
    )
    assert unit["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.parametrize(
    "name", ["slurm.sbatch", "lsf.bsub", "several-machines.sbatch", "several-machines.bsub"]
)
def test_a_job_script_is_a_shell_script(name: str) -> None:
    assert subprocess.run(["bash", "-n", RECIPES / name], check=False).returncode == 0


def test_a_pod_starts_torchs_launcher_with_options_that_it_has() -> None:
    from torch.distributed.run import get_args_parser

    service, job = yaml.safe_load_all((RECIPES / "several-machines.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    command = pod["containers"][0]["command"]
    assert command[:3] == ["python", "-m", "dacapo_core.training.launcher"]
    options = get_args_parser().parse_args(command[3:])
    assert int(options.nnodes) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert options.rdzv_endpoint.startswith(f"{job['metadata']['name']}-0.{pod['subdomain']}:")
    assert service["metadata"]["name"] == pod["subdomain"]
    assert options.training_script_args == ["train", "/config/my_run.yaml"]

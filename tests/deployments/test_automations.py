"""What the server does by itself when something happens to a checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deployments.site import Site, wait_for
from tests.small_run import small_run

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

EXAMPLE = "dacapo: example, act when the best moves"


def test_the_example_asks_for_a_validation_of_the_new_best(site: Site) -> None:
    (example,) = [each for each in site.post("automations/filter", {}) if each["name"] == EXAMPLE]
    assert not example["enabled"], "a person switches it on"
    deployment = site.get("deployments/name/validate/checkpoint")["id"]

    def asked_for() -> list[Any]:
        of_ours = {"deployments": {"id": {"any_": [deployment]}}}
        found = site.post("flow_runs/filter", of_ours)
        return [each for each in found if each["parameters"].get("run") == "moved"]

    file = site.folder / "moved.yaml"
    file.write_text(yaml.safe_dump(small_run("moved", 2, 2)))
    site.patch(f"automations/{example['id']}", {"enabled": True})
    try:
        trained = site.run("flows", "train", str(file))
        assert trained.returncode == 0, trained.stdout
        (validation,) = wait_for("a validation", 60, asked_for, site.log)
    finally:
        site.patch(f"automations/{example['id']}", {"enabled": False})
    assert validation["state_type"] == "SCHEDULED"
    store = str(site.folder / "runs")
    assert validation["parameters"] == {"run": "moved", "iterations": [2], "store": store}
    site.cancel(validation["id"])

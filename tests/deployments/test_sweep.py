"""A grid of runs, each on a worker of its own, in one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from flows.sweep_grid import configured, expand
from tasks.pages.comparison_table import RunResult, comparison_page, comparison_table
from tasks.runtime.ui_paths import artifact_key
from tests.deployments.browser import browser, chromium
from tests.deployments.pages import fits
from tests.deployments.site import Site, kill
from tests.small_run import small_run


def test_a_grid_means_every_combination_under_a_name_of_its_own() -> None:
    run = RunConfig(name="grid")
    found = expand(run, {"learning_rate": [1e-3, 1e-2], "trainer_config.weight_decay": [0.0, 0.1]})
    assert len(found) == 4
    assert found["grid_learning_rate-0.01_weight_decay-0.1"] == {
        "learning_rate": 1e-2,
        "trainer_config.weight_decay": 0.1,
    }
    for name, values in found.items():
        config = configured(run, name, values)
        assert config.name == name
        assert config.trainer_config.weight_decay == values["trainer_config.weight_decay"]
    extended = expand(
        run, {"learning_rate": [1e-3, 1e-2, 1e-1], "trainer_config.weight_decay": [0.0, 0.1]}
    )
    assert set(found) < set(extended)


def test_the_best_of_all_runs_is_marked_by_its_direction() -> None:
    directions = {"cell/dice": True, "cell/voi": False}
    results = [
        RunResult(
            "a",
            {"seed": 0},
            "Completed",
            {"cell/dice": (8, 0.9), "cell/voi": (4, 0.5)},
            directions,
            *("/report-a", "/run-a"),
        ),
        RunResult(
            "b",
            {"seed": 1},
            "Completed",
            {"cell/dice": (4, 0.8), "cell/voi": (8, 0.2)},
            directions,
            *("/report-b", "/run-b"),
        ),
        RunResult("c", {"seed": 2}, "Crashed", {}, {}, "/report-c", "/run-c"),
    ]
    rows = comparison_table(results)
    assert [row["cell/dice"] for row in rows] == ["0.900 at 8 ★", "0.800 at 4", "–"]
    assert [row["cell/voi"] for row in rows] == ["0.500 at 4", "0.200 at 8 ★", "–"]
    assert [(row["seed"], row["state"]) for row in rows][2] == ("2", "Crashed")
    page = comparison_page("grid", results, "/runs")
    assert "| run | seed | Dice on cell | VOI on cell | state |" in page
    assert "| [a](/report-a) | 0 | 0.900 at 8 ★ | 0.500 at 4 | [Completed](/run-a) |" in page
    assert "| [c](/report-c) | 2 | – | – | [Crashed](/run-c) |" in page


@pytest.mark.slow
@pytest.mark.prefect
def test_a_sweep_trains_each_run_on_a_free_worker_and_ends_in_one_table(
    site: Site, tmp_path: Path
) -> None:
    supervisor = site.start("deployments", "worker", CUDA_VISIBLE_DEVICES="0,1")
    run = small_run("swept-{scheduled}", 2, 1)
    id = site.deployment_run("sweep/grid", run=run, grid={"seed": [0, 1]})
    done = site.ended(id)
    assert done["state_type"] == "COMPLETED", done["state"]["message"]
    swept = done["name"].removeprefix("sweep ")
    assert swept.startswith("swept-2"), "when it was scheduled"
    store = LocalWeightsStore(site.folder / "runs")
    trained = [f"{swept}_seed-{seed}" for seed in (0, 1)]
    names = [f"train {each}" for each in trained]
    children = site.post("flow_runs/filter", {"flow_runs": {"name": {"any_": names}}})
    assert {child["name"] for child in children} == set(names)
    assert len({child["infrastructure_pid"] for child in children}) == 2
    assert [store.latest_iteration(each) for each in trained] == [2, 2]
    assert done["state"]["message"] == f"2 runs completed and compared: {', '.join(trained)}"
    page = site.artifacts()[artifact_key("sweep", swept)]["data"]
    reports = {
        name: site.artifacts()[artifact_key("report", name)]["latest_id"] for name in trained
    }
    flow_runs = {child["name"].removeprefix("train "): child["id"] for child in children}
    for seed, name in enumerate(trained):
        link = f"[{name}](/v2/artifacts/artifact/{reports[name]})"
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {link} | {seed} |")]
        assert row.endswith(f"| [Completed](/v2/runs/flow-run/{flow_runs[name]}) |")
    assert "★" in page
    kill(supervisor)
    if chromium() is not None:
        with browser(tmp_path) as tab:
            latest = site.artifacts()[artifact_key("sweep", swept)]["latest_id"]
            tab.open(f"{site.api_url.removesuffix('/api')}/v2/artifacts/artifact/{latest}")
            tab.shows(f"Sweep {swept}", "Completed")
            fits(tab)
            tab.follow(trained[0], "Scores on held-out data")
            assert tab.errors == []

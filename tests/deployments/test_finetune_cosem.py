"""``prefect deployment run finetune/cosem`` on two workers: killed, restarted, seen in a browser.

The server needs two minutes to notice a killed run and to start it again; the other tests use them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dacapo_core.experiments.starts import LoadingReport
from dacapo_core.store.local_weights_store import LocalWeightsStore
from tasks.runtime.flow_run_watch import LOOK_EVERY_SECONDS
from tests.deployments.browser import Page, browser, chromium
from tests.deployments.pages import PAGES, PRUNING_PAGES, look
from tests.deployments.processes import begun, environment, running, trainer, trains
from tests.deployments.pruned import Pruned, prune_twice
from tests.deployments.published import finetuned
from tests.deployments.site import Site, kill, wait_for
from tests.small_run import small_run

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

RUN, KILLED, PRUNED = "from-cosem", "killed-midway", "pruned"
INTERVALS = 4
MOST_TASK_RUNS = 12

Workers = dict[str, subprocess.Popen[bytes]]


@dataclass(frozen=True)
class KilledRun:
    """A flow run whose process and worker were killed together, and when."""

    id: str
    process: int
    worker: str
    at: float


@pytest.fixture(scope="module")
def workers(site: Site) -> Iterator[Workers]:
    """Two workers, by the device that each serves."""
    found = {device: site.start("deployments", "worker", "--device", device) for device in "01"}
    yield found
    for worker in found.values():
        kill(worker)


@pytest.fixture(scope="module", autouse=True)
def killed(site: Site, workers: Workers) -> KilledRun:
    """A fine-tuning that was killed midway, and the worker that had it."""
    config = finetuned(KILLED, num_iterations=24, validation_interval=2)
    id = site.typed_deployment_run("finetune/cosem", run=config)
    process = begun(site, KILLED, 2)
    worker = environment(process)["CUDA_VISIBLE_DEVICES"]
    kill(workers.pop(worker))
    wait_for("its end", 20, lambda: not running(process))
    return KilledRun(id, process, worker, time.monotonic())


@pytest.fixture(scope="module")
def flow_run(site: Site, killed: KilledRun) -> str:
    """The flow run that the other worker has completed; its id."""
    id = site.deployment_run("finetune/cosem", run=finetuned(RUN, 2 * INTERVALS, 2))
    done = site.ended(id)
    assert done["state_type"] == "COMPLETED", done["state"]["message"]
    return id


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab of a real browser."""
    if chromium() is None:
        pytest.skip("no Chromium here")
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


def test_the_published_checkpoint_was_fetched_trained_judged_and_pruned(
    site: Site, flow_run: str
) -> None:
    store = LocalWeightsStore(site.folder / "runs")
    report = LoadingReport.model_validate(store.start_report(RUN))
    assert report.body_share_loaded == 1
    assert store.latest_iteration(RUN, verified=True) == 2 * INTERVALS
    judged = {record.iteration for record in store.scores(RUN)}
    assert judged == set(range(0, 2 * INTERVALS + 1, 2))
    best = {record.iteration for record in store.best_records(RUN).values()}
    assert set(store.iterations(RUN)) == best | {2 * INTERVALS - 2, 2 * INTERVALS}


def test_a_validation_interval_costs_a_dozen_task_runs_at_most(site: Site, flow_run: str) -> None:
    expected = {f"train {RUN} until 2", f"store {RUN} 4", f"validate {RUN} {2 * INTERVALS}"}

    def recorded() -> list[str]:
        names = [task["name"] for task in site.task_runs(flow_run)]
        return names if expected <= set(names) else []

    # the server records task runs from events, behind the flow
    names = wait_for("the task runs", 60, recorded)
    # what begins a run is counted too: it must not hide what an interval costs
    assert len(names) / INTERVALS <= MOST_TASK_RUNS
    per_interval = Counter(name.split()[0] for name in names)
    assert per_interval["train"] == per_interval["store"] == INTERVALS


def test_a_flow_run_has_one_card_a_page_and_the_report_is_the_first(
    site: Site, flow_run: str
) -> None:
    # as the tab Artifacts asks for them
    wanted = {"artifacts": {"flow_run_id": {"any_": [flow_run]}}, "sort": "ID_DESC"}
    keys = [each["key"] for each in site.post("artifacts/filter", wanted)]
    assert keys[0] == f"report-{RUN}"
    assert f"pruning-{RUN}" in keys
    assert set(Counter(keys).values()) == {1}


def test_a_suspended_run_goes_on_from_its_store_in_a_fresh_process(
    site: Site, killed: KilledRun
) -> None:
    name, iterations = "suspended", 1200
    id = site.deployment_run("train/default", run=small_run(name, iterations, iterations))
    first = trains(site, id, name)
    suspended = {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_reschedule": True}}
    # it must not be done before it looks
    os.kill(first, signal.SIGSTOP)
    site.post(f"flow_runs/{id}/set_state", {"state": suspended})
    time.sleep(LOOK_EVERY_SECONDS)
    os.kill(first, signal.SIGCONT)
    wait_for("the end of its process", 120, lambda: not running(first), site.log)
    store = LocalWeightsStore(site.folder / "runs")
    stored = store.latest_iteration(name, verified=True)
    assert stored is not None
    assert 0 < stored < iterations
    assert site.flow_run(id)["state_type"] == "PAUSED"

    site.post(f"flow_runs/{id}/resume", {})
    done = site.ended(id)
    assert done["state_type"] == "COMPLETED", done["state"]["message"]
    assert trainer(site, name) != first
    trained = [at for stretch in store.training_stats(name) for at in stretch["iteration"]]
    assert trained == list(range(1, iterations + 1))


def test_neither_a_flow_that_is_gone_nor_a_deleted_run_ends_a_worker(
    site: Site, workers: Workers, killed: KilledRun
) -> None:
    alive = [worker for worker in workers.values() if worker.poll() is None]
    train = site.get("deployments/name/train/default")
    copied = ("flow_id", "work_pool_name", "work_queue_name")
    gone = site.post(
        "deployments/",
        {"name": "gone", "entrypoint": "nowhere.train", **{key: train[key] for key in copied}},
    )
    asked = {"state": {"type": "SCHEDULED"}}
    lost = site.post(f"deployments/{gone['id']}/create_flow_run", asked)["id"]
    assert site.ended(lost)["state_type"] in ("CRASHED", "FAILED")
    site.delete(f"deployments/{gone['id']}")

    name = "deleted"
    id = site.deployment_run("train/default", run=small_run(name, 100_000, 50_000))
    process = trains(site, id, name)
    site.delete(f"flow_runs/{id}")
    wait_for("the end of its process", 60, lambda: not running(process), site.log)
    store = LocalWeightsStore(site.folder / "runs")
    assert 0 < (store.latest_iteration(name, verified=True) or 0) < 50_000
    assert [worker for worker in alive if worker.poll() is None] == alive != []


def test_an_orphan_completes_its_run_and_a_new_one_is_refused_until_then(
    site: Site, workers: Workers, killed: KilledRun
) -> None:
    name, iterations = "orphaned", 240
    config = small_run(name, iterations, 20)
    first = site.deployment_run("train/default", run=config)
    orphan = begun(site, name)
    # it must not be done before another one asks
    os.kill(orphan, signal.SIGSTOP)
    device = environment(orphan)["CUDA_VISIBLE_DEVICES"]
    os.kill(workers[device].pid, signal.SIGKILL)
    workers[device].wait()
    store = LocalWeightsStore(site.folder / "runs")
    before = store.latest_iteration(name)
    assert before is not None
    assert before < iterations
    workers[device] = site.start("deployments", "worker", "--device", device)
    site.lasting.add(workers[device].pid)

    second = site.ended(site.deployment_run("train/default", run=config))
    assert running(orphan), "a worker that is killed alone leaves its run behind"
    message = second["state"]["message"]
    assert second["state_type"] == "FAILED"
    assert "LeaseHeldError" in message
    assert first in message, "it names the flow run that holds the lease"
    assert second["total_run_time"] < 20

    os.kill(orphan, signal.SIGCONT)
    done = site.ended(first)
    assert done["state_type"] == "COMPLETED", done["state"]["message"]
    assert done["run_count"] == 1
    wait_for("the end of its process", 30, lambda: not running(orphan), site.log)
    assert trainer(site, name) == orphan
    assert store.latest_iteration(name, verified=True) == iterations
    trained = [at for stretch in store.training_stats(name) for at in stretch["iteration"]]
    assert trained == list(range(1, iterations + 1))
    assert any("nobody reads the output" in line for line in site.logged(first))


@pytest.fixture(scope="module")
def pruned(site: Site) -> Pruned:
    """A run that the deployment has pruned."""
    return prune_twice(site, PRUNED)


def test_a_rehearsed_pruning_and_the_real_one_say_what_they_came_to(
    site: Site, pruned: Pruned
) -> None:
    rehearsed, done = site.flow_run(pruned.rehearsal), site.flow_run(pruned.pruning)
    message = "1 run: rehearsal, nothing was touched: 6 would be marked (3.0 MB, could be restored"
    assert rehearsed["state"]["message"].startswith(message)
    assert "can be restored until" in done["state"]["message"]
    for told in (rehearsed, done):
        assert "scheduled" not in told["tags"]
    assert any(": not among the last 1" in line for line in site.logged(pruned.pruning))


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
def test_a_browser_shows_the_page(
    site: Site, flow_run: str, page: Page, name: str, tmp_path: Path
) -> None:
    look(page, site, RUN, name, tmp_path)


@pytest.mark.browser
def test_a_page_that_another_flow_run_replaced_leads_to_that_ones(
    site: Site, flow_run: str, page: Page
) -> None:
    before = site.artifacts()[f"report-{RUN}"]["latest_id"]
    config = finetuned(RUN, 2 * INTERVALS, 2)
    again = site.ended(site.deployment_run("finetune/cosem", run=config))
    assert again["state_type"] == "COMPLETED", again["state"]["message"]
    after = site.artifacts()[f"report-{RUN}"]["latest_id"]
    assert after != before
    ui = site.api_url.removesuffix("/api")
    page.open(f"{ui}/v2/artifacts/artifact/{before}")
    page.shows("Replaced since by a later page", "As of 20")
    page.click("a later page", "a")
    page.wait_for(f"location.pathname.endsWith('/{after}')", "the new report")
    page.shows("Scores on held-out data")
    assert "Replaced" not in page.text


@pytest.mark.browser
@pytest.mark.parametrize("name", PRUNING_PAGES)
def test_a_browser_shows_what_pruning_did_and_would_have_done(
    site: Site, pruned: Pruned, page: Page, name: str, tmp_path: Path
) -> None:
    look(page, site, PRUNED, name, tmp_path)


def test_the_killed_run_is_restarted_on_the_other_worker_and_completes(
    site: Site, killed: KilledRun
) -> None:
    state = wait_for(
        "crashed",
        150,
        lambda: (
            site.flow_run(killed.id)["state_type"] not in ("RUNNING", "PENDING")
            or trainer(site, KILLED) != killed.process
        ),
    )
    assert state
    done = wait_for(
        "completed",
        300,
        lambda: site.flow_run(killed.id)["state_type"] == "COMPLETED" and site.flow_run(killed.id),
        site.log,
    )
    print(f"completed {time.monotonic() - killed.at:.0f} s after it was killed")
    assert done["run_count"] == 2
    store = LocalWeightsStore(site.folder / "runs")
    assert store.latest_iteration(KILLED, verified=True) == 24
    trained = [at for stretch in store.training_stats(KILLED) for at in stretch["iteration"]]
    assert trained == list(range(1, 25))


@pytest.mark.browser
@pytest.mark.parametrize("name", ["report", "report-links", "start", "pruning"])
def test_a_browser_shows_the_history_of_the_killed_run(
    site: Site, killed: KilledRun, page: Page, name: str, tmp_path: Path
) -> None:
    look(page, site, KILLED, name, tmp_path)

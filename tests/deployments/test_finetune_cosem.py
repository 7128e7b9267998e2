"""``prefect deployment run finetune/cosem`` on a worker, and what a browser then shows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dacapo_core.experiments.starts import LoadingReport
from dacapo_core.store.local_weights_store import LocalWeightsStore
from tests.deployments.browser import Page, browser, chromium
from tests.deployments.pages import PAGES, look
from tests.deployments.published import finetuned
from tests.deployments.site import Site, kill

pytestmark = [pytest.mark.slow, pytest.mark.prefect]

RUN = "from-cosem"
INTERVALS = 4
MOST_TASK_RUNS = 12


@pytest.fixture(scope="module")
def flow_run(site: Site) -> Iterator[str]:
    """The flow run that a worker has completed; its id."""
    worker = site.start("deployments", "worker")
    id = site.typed_deployment_run("finetune/cosem", run=finetuned(RUN, 2 * INTERVALS, 2))
    done = site.ended(id)
    assert done["state_type"] == "COMPLETED", done["state"]["message"]
    yield id
    kill(worker)


@pytest.fixture(scope="module")
def page(flow_run: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
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
    expected = {f"train {RUN} until 2", f"store {RUN} 4", f"validate {RUN} 6"}
    # the server records task runs from events, behind the flow
    deadline = time.monotonic() + 60
    while True:
        names = [task["name"] for task in site.task_runs(flow_run)]
        if expected <= set(names) or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert expected <= set(names)
    assert len(names) <= MOST_TASK_RUNS * INTERVALS


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
def test_a_browser_shows_the_page(site: Site, page: Page, name: str, tmp_path: Path) -> None:
    look(page, site, RUN, name, tmp_path)

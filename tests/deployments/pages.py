"""The pages that a person looks at, and what each must show."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.deployments.browser import Page
from tests.deployments.site import Site

LATEST_VERSION_OF = "/v2/artifacts/artifact/"


def look_at_form(page: Page, site: Site, run: str) -> None:
    """Nested, typed and described, from its top."""
    deployment = site.get("deployments/name/finetune/cosem")
    _open(page, site, f"/v2/deployments/deployment/{deployment['id']}/run", height=1300)
    page.shows("Iterations to train for.", "Which checkpoints to keep")
    assert page.in_view("Parameters")
    assert page.in_view("CNNectomeUNetConfig (Optional)")


def look_at_form_start(page: Page, site: Site, run: str) -> None:
    """Further down, the start as tabs; each has the fields of its kind."""
    look_at_form(page, site, run)
    tabs = page.run("[...document.querySelectorAll('[role=tab]')].map(e => e.innerText)")
    assert {"StartConfig", "CosemStartConfig", "OneHotTaskConfig"} <= set(tabs)
    page.click("CosemStartConfig", "[role=tab]")
    page.shows("The network: setup04, setup26.1, …")
    assert page.in_view("Start Config (Optional)")


def look_at_form_prune(page: Page, site: Site, run: str) -> None:
    """Runs as a pattern or a list, and the policy rule by rule."""
    deployment = site.get("deployments/name/prune/nightly")
    _open(page, site, f"/v2/deployments/deployment/{deployment['id']}/run", height=1300)
    page.shows("A name, a pattern such as", "Keep the newest n.", "Only show what would be done.")
    tabs = page.run("[...document.querySelectorAll('[role=tab]')].map(e => e.innerText)")
    assert tabs[:2] == ["str", "list"]
    assert page.in_view("policy (Optional)")


def look_at_report(page: Page, site: Site, run: str) -> None:
    """Progress, best, curves as pictures, and where the store is."""
    _open(page, site, _latest(site, "report", run), height=1500)
    page.shows(run, "(complete)", "Scores on held-out data", "samples/s", str(site.folder / "runs"))
    page.shows_pictures(2)


def look_at_more_of_the_report(page: Page, site: Site, run: str) -> None:
    """The report's links to the run's other pages lead to their content."""
    for link, shown in {
        "Checkpoints, kept and pruned": "Marked and pruned",
        "What was loaded from its start": "of the parameters loaded",
    }.items():
        look_at_report(page, site, run)
        page.follow(link, shown)


def look_at_start(page: Page, site: Site, run: str) -> None:
    """What was loaded, and the head row by row."""
    _open(page, site, _latest(site, "start", run))
    page.shows(f"Start of {run}", "of the parameters loaded", "initialised anew", "row 0")


def look_at_pruning(page: Page, site: Site, run: str) -> None:
    """The strip of iterations, curves and disk use, with reasons."""
    _open(page, site, _latest(site, "pruning", run), height=1300)
    page.shows(f"Checkpoints of {run}", "Disk use", "latest", "Marked and pruned")
    page.shows_pictures(3)


def look_at_pruning_table(page: Page, site: Site, run: str) -> None:
    """A row for each checkpoint that there is or was."""
    _open(page, site, _latest(site, "pruning-table", run))
    page.shows("iteration", "kept", "pruned", "latest", "best of")


def look_at_events(page: Page, site: Site, run: str) -> None:
    """The feed of this run alone; it ends with the last full minute."""
    wanted = {"filter": {"resource": {"id": [f"dacapo.run.{run}"]}}}
    deadline = time.monotonic() + 120
    while True:
        times = [each["occurred"] for each in site.post("events/filter", wanted)["events"]]
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        if times and min(map(datetime.fromisoformat, times)) < minute:
            break
        assert time.monotonic() < deadline, f"the server has no event of the run: {times}"
        time.sleep(1)
    _open(page, site, f"/v2/events?resource=%5B%22dacapo.run.{run}%22%5D")
    page.shows("1 resource selected", "dacapo.checkpoint.", run)
    assert "prefect.flow-run" not in page.text


def look_at_index(page: Page, site: Site, run: str) -> None:
    """Links to what no side bar shows; each form's link leads to the form."""
    index = site.artifacts()["dacapo"]
    _open(page, site, LATEST_VERSION_OF + index["latest_id"])
    page.shows("where everything is", "finetune/cosem", "event feed")
    link = page.run("[...document.links].find(a => a.innerText === 'train/default').href")
    assert link.endswith(f"{site.get('deployments/name/train/default')['id']}/run")


def look_at_block(page: Page, site: Site, run: str) -> None:
    """A form of its own for a store and its credentials."""
    _open(page, site, "/v2/blocks/catalog/weights-store/create")
    page.shows("Weights store", "kept secret", "s3://bucket/runs")
    page.wait_for("!!document.querySelector('.cm-editor')", "the editor of the storage options")


PAGES: dict[str, Callable[[Page, Site, str], None]] = {
    "form": look_at_form,
    "form-start": look_at_form_start,
    "form-prune": look_at_form_prune,
    "report": look_at_report,
    "report-links": look_at_more_of_the_report,
    "start": look_at_start,
    "pruning": look_at_pruning,
    "pruning-table": look_at_pruning_table,
    "events": look_at_events,
    "index": look_at_index,
    "block": look_at_block,
}


def look(page: Page, site: Site, run: str, name: str, folder: Path | None) -> None:
    """Look at one page of a complete, fine-tuned run, and keep its picture in ``folder``."""
    PAGES[name](page, site, run)
    assert page.errors == []
    if folder is not None:
        page.picture(folder / f"ui-{name}.png")


def _latest(site: Site, kind: str, run: str) -> str:
    return LATEST_VERSION_OF + str(site.artifacts()[f"{kind}-{run}"]["latest_id"])


def _open(page: Page, site: Site, path: str, height: int = 900) -> None:
    page.open(site.api_url.removesuffix("/api") + path, height)

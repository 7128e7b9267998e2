"""The pages that a person looks at, and what each must show."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.deployments.browser import Page
from tests.deployments.site import Site

LATEST_VERSION_OF = "/v2/artifacts/artifact/"
WIDTHS = (1440, 1000)


def look_at_form(page: Page, site: Site, run: str) -> None:
    """What a person sets comes first, the rest is folded, and what it starts from is said."""
    deployment = site.get("deployments/name/finetune/cosem")
    _open(page, site, f"/v2/deployments/deployment/{deployment['id']}/run", height=1300)
    page.shows("Iterations to train for.", "Which checkpoints to keep")
    assert page.in_view("Parameters")
    assert page.in_view("Start Config (Optional)")
    assert page.text.index("no COSEM network is used") < page.text.index("Name (Optional)")
    assert page.run("document.querySelectorAll('input[type=number]').length") < 10
    page.shows("channels ves, pm, mito", "keep_last 2")


def look_at_form_start(page: Page, site: Site, run: str) -> None:
    """Further down, the start as tabs; each has the fields of its kind."""
    look_at_form(page, site, run)
    tabs = page.run("[...document.querySelectorAll('[role=tab]')].map(e => e.innerText)")
    assert {"StartConfig", "CosemStartConfig", "OneHotTaskConfig"} <= set(tabs)
    page.click("CosemStartConfig", "[role=tab]")
    page.shows("The network: setup04, setup26.1, …")
    assert page.in_view("Start Config (Optional)")


def look_at_form_folds(page: Page, site: Site, run: str) -> None:
    """Behind a fold are the fields, with the form's own defaults."""
    look_at_form(page, site, run)
    page.click("TrainerConfig", "[role=tab]")
    page.shows("Weight decay of AdamW.")
    values = page.run("[...document.querySelectorAll('input[type=number]')].map(e => e.value)")
    assert "5" in values, "the warm-up of the default run, which is not that of all runs"


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


def look_at_artifacts(page: Page, site: Site, run: str) -> None:
    """The tab of a run's flow run lists the report first."""
    report = site.get(f"artifacts/{site.artifacts()[f'report-{run}']['latest_id']}")
    _open(page, site, f"/v2/runs/flow-run/{report['flow_run_id']}", height=1200)
    page.click("Artifacts", "[role=tab]")
    page.shows(f"report-{run}", f"pruning-{run}")
    assert page.text.index(f"report-{run}") < page.text.index(f"pruning-{run}")


def look_at_start(page: Page, site: Site, run: str) -> None:
    """What was loaded, and the head row by row."""
    _open(page, site, _latest(site, "start", run))
    page.shows(f"Start of {run}", "of the parameters loaded", "initialised anew", "row 0")
    page.shows("channels matched by label", "Not used", "Channels of the checkpoint: ")


def look_at_store(page: Page, site: Site, run: str) -> None:
    """A row a run, disk use above, all within the window's width; a name leads to its pages."""
    _open(page, site, LATEST_VERSION_OF + str(site.artifacts()["store"]["latest_id"]), height=1300)
    page.shows(
        f"Store {site.folder / 'runs'}",
        "As of 20",
        "on disk in",
        "pruning has freed",
        "next pruning of the whole store",
        "samples/s",
        "% waiting",
        "complete",
    )
    page.shows_pictures(1)
    page.follow(run, "Scores on held-out data")
    page.shows("F1 score", "all channels", "As of 20")
    _open(page, site, LATEST_VERSION_OF + str(site.artifacts()["store"]["latest_id"]), height=1300)
    page.shows("on disk in")
    page.shows_pictures(1)


def look_at_pruning(page: Page, site: Site, run: str) -> None:
    """The strip of iterations, curves and disk use, with reasons."""
    _open(page, site, _latest(site, "pruning", run), height=1300)
    page.shows(f"Checkpoints of {run}", "Disk use", "latest", "Marked and pruned")
    page.shows_pictures(3)
    places = [page.text.index(title) for title in ("Marked and pruned", "Kept\n", "Best\n")]
    assert places == sorted(places)
    assert page.in_view("Marked and pruned"), "what the page is for comes first"


def look_at_rehearsal(page: Page, site: Site, run: str) -> None:
    """That nothing was touched, in the conditional; what would go and why; how to do it."""
    _open(page, site, _latest(site, "prune-plan", run))
    page.shows(
        f"Rehearsal: what pruning would do to {run}; nothing was",
        "Rehearsal, nothing was touched: ",
    )
    page.shows("6 would be marked (3.0 MB", "2 would be kept (", "Would be marked")
    page.shows("not among the last 1", "Would be kept", "best by F1 score and VOI on cell 4")
    page.shows(f"dacapo-store prune {run} --keep-last 1 --keep-best 1 --grace 7d --store")
    assert "can be restored" not in page.text


def look_at_pruning_summary(page: Page, site: Site, run: str) -> None:
    """Policy, what went and what is kept, sizes before and after, how to restore; a link on."""
    _open(page, site, LATEST_VERSION_OF + site.artifacts()["pruning-summary"]["latest_id"])
    page.shows("1 run: 6 marked (3.0 MB, can be restored until ", "2 kept (")
    page.shows("Policy: keep the newest 1, the best 1 of each dataset and criterion; mark the rest")
    page.shows("8–32, every 8 (4); 48, 56", ": 40, 64", "MB before, ", "at least until")
    page.shows(f"dacapo-store restore {run} ITERATION --store {site.folder / 'runs'}")
    page.follow(run, f"Checkpoints of {run}")


def look_at_prune_run(page: Page, site: Site, run: str) -> None:
    """Its details say in one line what it came to."""
    wanted = {"flow_runs": {"name": {"any_": [f"prune {run}"]}}, "sort": "START_TIME_DESC"}
    newest = site.post("flow_runs/filter", wanted)[0]
    assert "scheduled" not in newest["tags"]
    _open(page, site, f"/v2/runs/flow-run/{newest['id']}", height=1200)
    page.click("Details", "[role=tab]")
    page.shows("1 run: 6 marked (3.0 MB")


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
    # iteration and bytes, with the raw event folded
    page.wait_for(
        f"/{run}: iteration \\d+ stored, [\\d.]+ [kM]B/.test(document.body.innerText)",
        "what was stored",
    )
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
    "form-folds": look_at_form_folds,
    "form-prune": look_at_form_prune,
    "report": look_at_report,
    "store": look_at_store,
    "report-links": look_at_more_of_the_report,
    "artifacts": look_at_artifacts,
    "start": look_at_start,
    "pruning": look_at_pruning,
    "events": look_at_events,
    "index": look_at_index,
    "block": look_at_block,
}

# of a run that `tests.deployments.pruned` has rehearsed and pruned
PRUNING_PAGES: dict[str, Callable[[Page, Site, str], None]] = {
    "pruning": look_at_pruning,
    "rehearsal": look_at_rehearsal,
    "pruning-summary": look_at_pruning_summary,
    "prune-run": look_at_prune_run,
}


# whose contents are ours
WRAPPING = ("report", "store", "start", "pruning", "rehearsal", "pruning-summary", "index")


def fits(page: Page) -> None:
    """Nothing is beyond the right edge, in a wide window and in a narrow one."""
    for width in WIDTHS:
        page.resize(width)
        assert page.beyond_the_edge == [], f"at {width} pixels"


def look(page: Page, site: Site, run: str, name: str, folder: Path | None) -> None:
    """Look at one page of a complete, fine-tuned run, and keep its picture in ``folder``."""
    (PAGES | PRUNING_PAGES)[name](page, site, run)
    assert page.errors == []
    shown = page.size
    if name in WRAPPING:
        fits(page)
        page.resize(*shown)
    if folder is not None:
        page.picture(folder / f"ui-{name}.png")


def _latest(site: Site, kind: str, run: str) -> str:
    return LATEST_VERSION_OF + str(site.artifacts()[f"{kind}-{run}"]["latest_id"])


def _open(page: Page, site: Site, path: str, height: int = 900) -> None:
    page.open(site.api_url.removesuffix("/api") + path, height)

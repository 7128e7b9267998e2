"""What the server on SQLite refuses while runs train and pages are open.

``python -m tests.benchmarks.server_requests``. Beside 2, 4 and 8 runs and eight pages, asks 200
times for a flow run, as the form does: one request after another, none repeated. First on the
server of ``python -m deployments server``, then on ``prefect server start`` as it comes, for
reference. The runs validate every few seconds, which is more often than real ones, and give way to
the server, as if they were on machines of their own; the smaller ``load`` is before a line, the
truer it is.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.deployments.site import Site, running_site, wait_for

SERVERS = {
    "ours": ("deployments", "server"),
    "prefect server start": ("prefect", "server", "start"),
}
PAGES, LOOK_EVERY_SECONDS = 8, 2.0
VALIDATIONS, INTERVAL = 60, 20
GIVES_WAY = 15
LONGEST_WAIT = 120.0
IN_A_YEAR = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2099-01-01T00:00:00Z"}}


@dataclass
class Answers:
    """How requests were answered, and after how many seconds."""

    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def ask(self, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to one request; None to one that was refused."""
        request = urllib.request.Request(
            url,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        began = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=LONGEST_WAIT) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            self.failures[str(error.code)] += 1
        except OSError as error:
            self.failures[type(error).__name__] += 1
        finally:
            self.seconds.append(time.perf_counter() - began)
        return None

    def __str__(self) -> str:
        failed = ", ".join(f"{count} × {what}" for what, count in self.failures.items())
        return (
            f"{self.failures.total()} of {len(self.seconds)} refused{failed and f' ({failed})'}, "
            f"{statistics.median(self.seconds):.2f} s in the median, "
            f"{max(self.seconds):.1f} s at most"
        )


def page_requests(api: str, run: str) -> list[tuple[str, Mapping[str, Any] | None]]:
    """What the UI asks for a run's page, the list of runs, the dashboard and the event feed."""
    of_run = {"flow_runs": {"id": {"any_": [run]}}}
    return [
        (f"{api}/flow_runs/{run}", None),
        (f"{api}/flow_runs/{run}/graph-v2", None),
        (f"{api}/task_runs/filter", of_run | {"limit": 100}),
        (f"{api}/artifacts/filter", of_run | {"limit": 50}),
        (
            f"{api}/logs/filter",
            {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200},
        ),
        (f"{api}/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 50}),
        (f"{api}/flow_runs/count", {}),
        (f"{api}/task_runs/count", {}),
        (f"{api}/work_pools/filter", {}),
        (f"{api}/events/filter", {"filter": {"order": "DESC"}, "limit": 50}),
    ]


@contextmanager
def open_pages(site: Site, count: int) -> Iterator[Answers]:
    """So many pages that look again every few seconds, each at one of the runs that train."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    runs = [each["id"] for each in site.post("flow_runs/filter", wanted)]
    answers, closed = Answers(), threading.Event()

    def look(run: str) -> None:
        while not closed.wait(LOOK_EVERY_SECONDS):
            for url, body in page_requests(site.api_url, run):
                answers.ask(url, body)

    pages = [
        threading.Thread(target=look, args=(runs[number % len(runs)],)) for number in range(count)
    ]
    for page in pages:
        page.start()
    try:
        yield answers
    finally:
        closed.set()
        for page in pages:
            page.join()


def begin_runs(site: Site, names: Sequence[str]) -> None:
    """Start processes that train one run after another; return when each has validated twice."""
    for name in names:
        site.start("tests.benchmarks.server_requests", "--train", name)

    def validated() -> bool:
        folders = (site.folder / "runs" / f"{name}-0" / "records" / "scores" for name in names)
        return all(folder.is_dir() and len(list(folder.iterdir())) >= 2 for folder in folders)

    wait_for("the first validations", 600, validated, site.log)


def train_one_after_another(name: str, store: str) -> None:
    """Runs of as many validations as are task runs of their own each, without end."""
    os.nice(GIVES_WAY)
    from dacapo_core.experiments.run_config import RunConfig
    from flows.train import train
    from tests.small_run import small_run

    for number in itertools.count():
        config = small_run(f"{name}-{number}", VALIDATIONS * INTERVAL, INTERVAL)
        train(RunConfig.model_validate(config), store)


def measure(site: Site, requests: int) -> tuple[Answers, Answers]:
    """Ask for flow runs that nobody takes; how these requests, and those of the pages, went."""
    deployment = site.get("deployments/name/train/default")["id"]
    asked = Answers()
    with open_pages(site, PAGES) as pages:
        for _ in range(requests):
            asked.ask(
                f"{site.api_url}/deployments/{deployment}/create_flow_run", {"state": IN_A_YEAR}
            )
    return asked, pages


def main() -> None:
    """Print a line for each server and number of runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--train", metavar="NAME", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train_one_after_another(given.train, os.environ["DACAPO_RUNS_BASE_DIR"])
        return
    repository = str(Path(__file__).resolve().parents[2])
    for server, command in SERVERS.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            running_site(
                Path(folder) / "site",
                server=command,
                PYTHONPATH=repository,
                OMP_WAIT_POLICY="PASSIVE",
            ) as site,
        ):
            begun = 0
            for count in given.runs:
                begin_runs(site, [f"run-{number}" for number in range(begun, count)])
                begun = count
                load = os.getloadavg()[0]
                asked, pages = measure(site, given.requests)
                print(f"{server}, {count} runs, {PAGES} pages, load {load:.1f} before:")
                print(f"  requests for a flow run: {asked}")
                print(f"  requests of the pages:   {pages}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

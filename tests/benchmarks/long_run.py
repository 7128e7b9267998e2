"""What a run of 10,000 validations costs the server's database, and how soon its page opens.

``python -m tests.benchmarks.long_run [VALIDATIONS]``. The flow ``train`` itself, as a run of its
deployment on a real server, with its own task runs, events, log lines and pages; but its iterations
compute nothing, its validations give scores that are made up, and of its later checkpoints one in
fifty is stored and pruned, for it is to take minutes and not a month. What goes by the clock of a
month goes by one of its own: events that are held back; of its events the server has at the end
those that it keeps, of the last week, and of heartbeats those of the last hours. Exits with 1 where
the database grew, or the page took, more than it may.
"""

from __future__ import annotations

import json
import math
import sqlite3
import statistics
import sys
import tempfile
import time
import tomllib
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import dacapo_core.train
import dacapo_core.validation.pictures
import dacapo_core.validation.scoring
import tasks.runtime.batched_events
import tasks.runtime.events
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.training.training_stats import TrainingIterationStats
from tests.deployments.browser import browser, chromium
from tests.deployments.site import Site, running_site, wait_for
from tests.small_run import small_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect.client.schemas.objects import FlowRun
    from torch import Tensor

    from dacapo_core.store.pruning.plan import PrunePlan
    from dacapo_core.store.records.scores import ScoresRecord
    from dacapo_core.training.run import Run

VALIDATIONS, INTERVAL = 10_000, 10
MONTH, WEEK = timedelta(days=30), timedelta(days=7)
CHANNELS = ["mito", "pm", "er", "ves"]
ALL_UNTIL, STORED_OF = 60, 50
NOW = {"type": "SCHEDULED"}
MOST_BYTES, MOST_SECONDS = 50_000_000, 2.0
LOOKS = 5


class _Clock:
    """A month goes by during the run's iterations."""

    def __init__(self, iterations: int) -> None:
        self.seconds = 0.0
        self.of_an_iteration = MONTH.total_seconds() / iterations

    def monotonic(self) -> float:
        return self.seconds


def compute_nothing(clock: _Clock) -> None:
    """From here on an iteration and a validation of this process are done at once."""
    first: dict[str, tuple[Tensor, ScoresRecord]] = {}
    really = dacapo_core.validation.scoring.predict_and_score
    draw, drawn = dacapo_core.validation.pictures.slice_picture, dict[str, bytes]()

    def train_until(
        run: Run, iteration: int, *, on_iteration: Callable[[TrainingIterationStats], None]
    ) -> None:
        while run.iteration < iteration:
            run.iteration += 1
            clock.seconds += clock.of_an_iteration
            loss = 1 / (1 + run.iteration / 1000)
            stats = TrainingIterationStats(
                run.iteration, loss, 1.0, 1e-4, clock.of_an_iteration, False
            )
            run.training_stats.iteration_stats.append(stats)
            on_iteration(stats)

    def predict_and_score(run: Run, dataset: Any) -> tuple[Tensor, ScoresRecord]:
        if dataset.name not in first:
            first[dataset.name] = really(run, dataset)
        prediction, scores = first[dataset.name]
        shift = 0.1 * math.sin(run.iteration) + run.iteration * 1e-7
        entries = [
            entry.model_copy(
                update={
                    "scores": {
                        criterion: None if score is None else score + shift
                        for criterion, score in entry.scores.items()
                    }
                }
            )
            for entry in scores.entries
        ]
        return prediction, scores.model_copy(
            update={"iteration": run.iteration, "entries": entries}
        )

    def slice_picture(dataset: Any, channels: list[str], prediction: Tensor) -> bytes:
        if dataset.name not in drawn:
            drawn[dataset.name] = draw(dataset, channels, prediction)
        return drawn[dataset.name]

    emit_event = tasks.runtime.events.emit_event

    def emit_of_the_last_week(*given: Any, **named: Any) -> None:
        if clock.seconds > (MONTH - WEEK).total_seconds():
            emit_event(*given, **named)

    tasks.runtime.events.emit_event = emit_of_the_last_week  # type: ignore[assignment]
    store_some()
    dacapo_core.validation.pictures.slice_picture = slice_picture
    dacapo_core.train.train_until = train_until  # type: ignore[assignment]
    dacapo_core.validation.scoring.predict_and_score = predict_and_score
    tasks.runtime.batched_events.time = SimpleNamespace(monotonic=clock.monotonic)  # type: ignore[assignment]


def store_some() -> None:
    """From here on, of the later checkpoints some are stored, and pruning says so of all."""
    stored = count()
    last: dict[str, Any] = {"real": True, "iteration": 0}
    original = {
        name: getattr(LocalWeightsStore, name)
        for name in ("store_weights", "store_picture", "derive_best", "prune")
    }

    def store_weights(self: Any, run: Run, iteration: int, **options: Any) -> None:
        number = next(stored)
        last.update(real=number < ALL_UNTIL or number % STORED_OF == 0, iteration=iteration)
        if last["real"]:
            original["store_weights"](self, run, iteration, **options)

    def store_picture(self: Any, *given: Any) -> None:
        if last["real"]:
            original["store_picture"](self, *given)

    def derive_best(self: Any, run: str) -> Any:
        return original["derive_best"](self, run) if last["real"] else {}

    def prune(self: Any, run: str, *given: Any, **options: Any) -> PrunePlan:
        if last["real"] or options.get("dry_run"):
            plan: PrunePlan = original["prune"](self, run, *given, **options)
            last["plan"] = plan if plan.doomed else last.get("plan", plan)
            return plan
        plan = last["plan"]
        gone = last["iteration"] - 2 * INTERVAL
        like = next(iter(plan.checkpoints.values()))._replace(iteration=gone)
        return replace(
            plan,
            checkpoints={**plan.checkpoints, gone: like},
            pruned={gone: ["not among the last 2"]},
        )

    for made in (store_weights, store_picture, derive_best, prune):
        setattr(LocalWeightsStore, made.__name__, made)


def train(site: Site, validations: int) -> str:
    """Carry out a run of ``train/default`` in this process; its flow run's id."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    import flows.train

    config = small_run("long", validations * INTERVAL, INTERVAL)
    config["task_config"]["channels"] = CHANNELS
    deployment = site.get("deployments/name/train/default")["id"]
    asked = site.post(f"deployments/{deployment}/create_flow_run", {"state": NOW})
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(asked["id"]))
        parameters = {"run": config, "store": str(site.folder / "runs")}
        compute_nothing(_Clock(validations * INTERVAL))
        run_flow(flows.train.train, flow_run, parameters=parameters)
        send_heartbeats(client.read_flow_run(flow_run.id), deployment)
    return str(flow_run.id)


def send_heartbeats(flow_run: FlowRun, deployment: str) -> None:
    """As many as the server has of a run that goes on, as Prefect sends them."""
    from prefect.events import emit_event

    for _ in range(round(kept_heartbeats())):
        emit_event(
            "prefect.flow-run.heartbeat",
            resource={
                "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
                "prefect.resource.name": flow_run.name,
                "prefect.run-count": str(flow_run.run_count),
                "prefect.state-type": "RUNNING",
            },
            related=[
                {
                    "prefect.resource.id": f"prefect.flow.{flow_run.flow_id}",
                    "prefect.resource.role": "flow",
                    "prefect.resource.name": "train",
                },
                {
                    "prefect.resource.id": f"prefect.deployment.{deployment}",
                    "prefect.resource.role": "deployment",
                },
                *(
                    {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
                    for tag in flow_run.tags
                ),
            ],
        )


def kept_heartbeats() -> float:
    """By the settings of ``deployments/profiles.toml``; the server looks every hour."""
    file = Path(__file__).resolve().parents[2] / "deployments" / "profiles.toml"
    settings = tomllib.loads(file.read_text())["profiles"]["dacapo"]
    overrides = settings.get("PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES", "{}")
    kept = json.loads(overrides).get("prefect.flow-run.heartbeat", WEEK.total_seconds()) + 3600
    return kept / float(settings["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])


def database_bytes(site: Site) -> tuple[int, dict[str, int]]:
    """Of the server's file with all that was written, and of its largest tables and indices."""
    file = site.folder / "prefect" / "prefect.db"
    with sqlite3.connect(file, timeout=60) as database:
        wait_for(
            "a checkpoint",
            60,
            lambda: database.execute("pragma wal_checkpoint(truncate)").fetchone()[0] == 0,
        )
        try:
            largest = database.execute(
                "select name, sum(pgsize) from dbstat group by name order by 2 desc limit 12"
            ).fetchall()
        except sqlite3.OperationalError:
            largest = []
    return file.stat().st_size, dict(largest)


def settle(site: Site) -> None:
    """Return when the server has written all that it was sent."""
    from flows.embedded_prefect import send_what_is_queued

    send_what_is_queued(120)
    counts: list[int] = []

    def same() -> bool:
        events = site.post("events/filter", {"filter": {"order": "DESC"}, "limit": 1})
        counts.append(int(events["total"]))
        time.sleep(5)
        return len(counts) > 2 and counts[-1] == counts[-3]

    wait_for("the last event", 600, same)


def seconds_to_open(site: Site) -> list[float]:
    """From the address of the report's page until its words and pictures are there."""
    report = site.artifacts()["report-long"]["latest_id"]
    ui = site.api_url.removesuffix("/api")
    taken = []
    with browser(site.folder / "browser") as page:
        page.open(f"{ui}/v2/dashboard")
        page.shows("Flow Runs")
        for _ in range(LOOKS):
            began = time.perf_counter()
            page.open(f"{ui}/v2/artifacts/artifact/{report}")
            page.shows("Scores on held-out data", "(complete)")
            page.shows_pictures(3)
            taken.append(time.perf_counter() - began)
            page.open(f"{ui}/v2/dashboard")
            page.shows("Flow Runs")
    return taken


def main() -> int:
    """Measure."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    validations = int(sys.argv[1]) if len(sys.argv) > 1 else VALIDATIONS
    with (
        tempfile.TemporaryDirectory() as folder,
        running_site(Path(folder) / "site") as site,
        temporary_settings({PREFECT_API_URL: site.api_url, PREFECT_HOME: site.folder / "prefect"}),
    ):
        before, tables_before = database_bytes(site)
        began = time.perf_counter()
        flow_run = train(site, validations)
        print(f"{validations} validations in {time.perf_counter() - began:.0f} s", flush=True)
        settle(site)
        after, tables = database_bytes(site)
        grown = after - before
        print(f"the database grew by {grown / 1e6:.1f} MB (at most {MOST_BYTES / 1e6:.0f})")
        for name, size in tables.items():
            print(f"  {name}: {(size - tables_before.get(name, 0)) / 1e6:.1f} MB more")
        print(
            f"  {len(site.task_runs(flow_run))} task runs shown at once, "
            f"{kept_heartbeats():.0f} heartbeats"
        )
        for key, each in site.artifacts().items():
            print(f"  page {key}: {len(json.dumps(each['data'])) / 1e3:.0f} kB")
        if chromium() is None:
            return int(grown > MOST_BYTES)
        taken = seconds_to_open(site)
    typical = statistics.median(taken)
    print(
        f"its page opens in {typical:.2f} s in the median of {LOOKS}, {max(taken):.2f} s at most "
        f"(at most {MOST_SECONDS:.0f})"
    )
    return int(grown > MOST_BYTES or typical > MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())

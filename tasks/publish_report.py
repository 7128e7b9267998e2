"""Publish the report of a live run."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from math import isfinite

from dacapo_core.store.records.score_names import dataset_in_words
from dacapo_core.store.records.scores import best_scores, shown_best
from tasks.pages.run_report import RunReport, report_page
from tasks.runtime.artifacts import publisher
from tasks.runtime.runs_in_training import LiveRun, live_run
from tasks.runtime.task_decorator import task
from tasks.runtime.ui_paths import artifact_key, events_path, page_path


@task("report of {run}", at_iteration=True)
def publish_report(run: str) -> None:
    """Update the run's page: progress, best, score and loss curves, the last validation slice.

    TensorBoard's event files, where they are wanted, get the same.
    """
    live = live_run(run)
    if live.event_files is not None:
        live.event_files.update(
            live.run.training_stats, best_scores(live.store.scores(run)), _pictures(live)
        )
    show_report(live)


def show_report(live: LiveRun) -> None:
    """Publish the page, which shows the run as it is when the page is sent."""
    publisher.page(
        artifact_key("report", live.name),
        lambda: report_page(read_report(live)),
        f"Training of {live.name}",
        leads=True,
    )


def read_report(live: LiveRun) -> RunReport:
    """The report's values from the run in memory and its records in the store."""
    from dacapo_core.training.device import peak_memory

    config, stats, store = live.run.config, live.run.training_stats, live.store.on_record()
    curves: dict[str, list[tuple[int, float]]] = {}
    for iteration, by_name in sorted(best_scores(store.scores(live.name)).items()):
        for name, score in by_name.items():
            curves.setdefault(name, []).append((iteration, score))
    rate = stats.samples_per_second
    left = (config.num_iterations - live.run.iteration) * config.batch_size
    return RunReport(
        run=live.name,
        store_url=store.basedir,
        iteration=live.run.iteration,
        num_iterations=config.num_iterations,
        extended={each.at: each.planned for each in live.run.extensions},
        samples_per_second=rate,
        waiting_share=stats.waiting_share,
        seconds_left=left / rate if rate else None,
        as_of=datetime.now(UTC),
        ended=live.ended,
        peak_memory=peak_memory(live.run.device),
        processes=live.run.processes.size,
        restarts=live.run.processes.restarts,
        most_restarts=live.run.processes.most_restarts,
        losses=[
            (each.iteration, each.loss) for each in stats.iteration_stats if isfinite(each.loss)
        ],
        scores=curves,
        best=shown_best(store.best_records(live.name)),
        pictures={
            f"{dataset_in_words(dataset)} at iteration {iteration}": png
            for (iteration, dataset), png in _pictures(live).items()
        },
        links=_links(live),
    )


def _pictures(live: LiveRun) -> dict[tuple[int, str], bytes]:
    """(iteration, dataset) → PNG, of the last validation that has pictures."""
    store = live.store.on_record()
    kept = store.pictures(live.name)
    newest = max((iteration for iteration, _ in kept), default=None)
    found = {}
    for iteration, dataset in kept:
        # a validator elsewhere may replace it meanwhile
        with suppress(FileNotFoundError):
            if iteration == newest:
                found[iteration, dataset] = store.picture(live.name, iteration, dataset)
    return found


def _links(live: LiveRun) -> dict[str, str]:
    links = {"Checkpoints, kept and pruned": page_path("pruning", live.name)}
    if live.run.config.start_config is not None:
        links["What was loaded from its start"] = page_path("start", live.name)
    links["Events of this run"] = events_path(live.name)
    return links

"""Publish the report of a live run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import isfinite

from tasks.live_runs import LiveRun, live_run
from tasks.pages.run_report import RunReport, report_page
from tasks.publishing import artifact_key, events_path, page_path, publisher
from tasks.step import step


@step("report of {run}", at_iteration=True)
def publish_report(run: str) -> None:
    """Update the run's page: progress, best, score and loss curves, the last validation slice.

    TensorBoard's event files, where they are wanted, get the same.
    """
    from dacapo_core.store.records.scores import best_scores

    live = live_run(run)
    scores = best_scores(live.store.scores(run))
    pictures = _pictures(live)
    if live.event_files is not None:
        live.event_files.update(live.run.training_stats, scores, pictures)
    publisher.page(
        artifact_key("report", run),
        report_page(read_report(live, scores, pictures)),
        f"Training of {run}",
        update=True,
    )


def read_report(
    live: LiveRun,
    scores: Mapping[int, Mapping[str, float]],
    pictures: Mapping[tuple[int, str], bytes],
) -> RunReport:
    """The report's values from the run in memory and its records in the store."""
    from dacapo_core.experiments.device import peak_memory

    config, stats = live.run.config, live.run.training_stats
    curves: dict[str, list[tuple[int, float]]] = {}
    for iteration, by_name in sorted(scores.items()):
        for name, score in by_name.items():
            curves.setdefault(name, []).append((iteration, score))
    rate = stats.samples_per_second
    left = (config.num_iterations - live.run.iteration) * config.batch_size
    return RunReport(
        run=live.name,
        store_url=live.store.basedir,
        iteration=live.run.iteration,
        num_iterations=config.num_iterations,
        extended={each.at: each.planned for each in live.run.extensions},
        samples_per_second=rate,
        waiting_share=stats.waiting_share,
        seconds_left=left / rate if rate else None,
        peak_memory=peak_memory(live.run.device),
        losses=[
            (each.iteration, each.loss) for each in stats.iteration_stats if isfinite(each.loss)
        ],
        scores=curves,
        best={
            f"{dataset}/{criterion}": (best.iteration, best.score)
            for (dataset, criterion), best in live.store.best_records(live.name).items()
        },
        pictures={
            f"{dataset} at iteration {iteration}": png
            for (iteration, dataset), png in pictures.items()
        },
        links=_links(live),
    )


def _pictures(live: LiveRun) -> dict[tuple[int, str], bytes]:
    """(iteration, dataset) → PNG, of the last validation that there are pictures of."""
    kept = live.store.pictures(live.name)
    newest = max((iteration for iteration, _ in kept), default=None)
    found = {}
    for iteration, dataset in kept:
        # a validator elsewhere may take it away meanwhile
        with suppress(FileNotFoundError):
            if iteration == newest:
                found[iteration, dataset] = live.store.picture(live.name, iteration, dataset)
    return found


def _links(live: LiveRun) -> dict[str, str]:
    links = {"Checkpoints, kept and pruned": page_path("pruning", live.name)}
    if live.run.config.start_config is not None:
        links["What was loaded from its start"] = page_path("start", live.name)
    links["Events of this run"] = events_path(live.name)
    return links

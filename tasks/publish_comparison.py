"""Publish what the runs of a sweep came to, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dacapo_core.store.records.scores import shown_best
from tasks.pages.comparison_table import RunResult, comparison_page
from tasks.runtime.artifacts import publisher
from tasks.runtime.open_stores import open_store
from tasks.runtime.task_decorator import task
from tasks.runtime.ui_paths import artifact_key, flow_run_path, page_path


@task("compare {sweep}")
def publish_comparison(
    sweep: str,
    runs: Mapping[str, Mapping[str, Any]],
    states: Mapping[str, str],
    flow_runs: Mapping[str, str],
    store: str,
) -> None:
    """Publish one page: a row for each run, its swept values, state and best scores, with links.

    Args:
        runs: name → swept field → value.
        states: name → the state it ended in.
        flow_runs: name → id of the flow run that trained it.
    """
    opened = open_store(store)
    results = []
    for name, values in runs.items():
        directions: dict[str, bool] = {}
        for record in opened.scores(name):
            for criterion, higher in record.criteria.items():
                directions[f"{record.dataset}/{criterion}"] = higher
        results.append(
            RunResult(
                name,
                values,
                states[name],
                shown_best(opened.best_records(name)),
                directions,
                report=page_path("report", name),
                flow_run=flow_run_path(flow_runs[name]),
            )
        )
    publisher.page(
        artifact_key("sweep", sweep),
        comparison_page(sweep, results, opened.basedir),
        f"The runs of sweep {sweep}",
        leads=True,
    )

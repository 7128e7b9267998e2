"""Publish what the runs of a sweep came to, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.pages.comparison_table import RunResult, comparison_table
from tasks.publishing import artifact_key, publisher
from tasks.step import step
from tasks.stores import open_store


@step("compare {sweep}")
def publish_comparison(
    sweep: str, runs: Mapping[str, Mapping[str, Any]], states: Mapping[str, str], store: str
) -> None:
    """One table: a row for each run, its swept values, its state and its best scores.

    Args:
        runs: name → swept field → value.
        states: name → the state it ended in.
    """
    opened = open_store(store)
    results = []
    for name, values in runs.items():
        directions: dict[str, bool] = {}
        for record in opened.scores(name):
            for criterion, higher in record.criteria.items():
                directions[f"{record.dataset}/{criterion}"] = higher
        best = {
            f"{dataset}/{criterion}": (record.iteration, record.score)
            for (dataset, criterion), record in opened.best_records(name).items()
        }
        results.append(RunResult(name, values, states[name], best, directions))
    publisher.table(
        artifact_key("sweep", sweep),
        comparison_table(results),
        f"The runs of sweep {sweep}",
        leads=True,
    )

"""Judge a live run as it is."""

from __future__ import annotations

from tasks.live_runs import live_run
from tasks.step import step


@step("validate {run} {iteration}")
def validate(run: str, iteration: int) -> dict[str, float]:
    """Score the live run on its validation volumes and keep the scores with it.

    Returns:
        ``<dataset>/<criterion>`` → the best score over the post-processing parameters.
    """
    from dacapo_core.store.scores import best_scores, shown_scores
    from dacapo_core.validate import validate_iteration

    live = live_run(run)
    live.progress.phase("validating")
    records = []
    for dataset in live.run.validation_datasets:
        record = validate_iteration(live.run, dataset)
        live.check_lease()
        live.store.store_scores(run, iteration, dataset.name, record)
        records.append(record)
    scores = best_scores(records).get(iteration, {})
    overall = {name: score for name, score in scores.items() if "__" not in name}
    live.progress.note(f"{run}: iteration {iteration}: {shown_scores(overall or scores)}")
    return scores

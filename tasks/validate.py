"""Judge a live run as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.runtime.runs_in_training import live_run
from tasks.runtime.task_decorator import task

if TYPE_CHECKING:
    from dacapo_core.store.records.scores import ScoresRecord

MOST_PICTURES = 3


@task("validate {run} {iteration}")
def validate(run: str, iteration: int) -> dict[str, float]:
    """Score the live run on its validation volumes; keep the scores, and a slice of the first few.

    Returns:
        ``<dataset>/<criterion>`` → the best score over the post-processing parameters.
    """
    from dacapo_core.store.records.score_names import overall, shown_scores
    from dacapo_core.store.records.scores import best_scores
    from dacapo_core.validation.pictures import slice_picture
    from dacapo_core.validation.scoring import predict_and_score

    live = live_run(run)
    live.progress.phase("validating")
    records: list[ScoresRecord] = []
    pictures: dict[str, bytes] = {}
    for dataset in live.run.validation_datasets:
        prediction, record = predict_and_score(live.run, dataset)
        records.append(record)
        if len(pictures) < MOST_PICTURES:
            pictures[dataset.name] = slice_picture(dataset, live.run.task.channels, prediction)
    live.check_lease()
    # all at once: a checkpoint is not judged while a volume is missing
    for record in records:
        live.store.store_scores(run, iteration, record.dataset, record)
    for name, picture in pictures.items():
        live.store.store_picture(run, iteration, name, picture)
    scores = best_scores(records).get(iteration, {})
    live.progress.note(f"{run}: iteration {iteration}: {shown_scores(overall(scores) or scores)}")
    return scores

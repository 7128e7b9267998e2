"""The flow that validates stored checkpoints, on this worker."""

from __future__ import annotations

from collections.abc import Mapping

from prefect.runtime import flow_run

from dacapo_core.store.records.score_names import overall, shown_scores
from flows.flow_decorator import completed, flow
from tasks.load_checkpoint import load_checkpoint, unscored_iterations
from tasks.runtime.open_stores import store_url
from tasks.runtime.protect_for_validation import protected_for_validation
from tasks.runtime.runs_in_training import run_in_validation
from tasks.store_best import store_best
from tasks.validate import validate as validate_live

MOST_SHOWN = 3


def _flow_run_name() -> str:
    given = flow_run.parameters
    iterations = given.get("iterations") or []
    return " ".join(["validate", str(given["run"]), *map(str, iterations)])


@flow("validate", _flow_run_name)
def validate(
    run: str, iterations: list[int] | None = None, store: str | None = None
) -> dict[int, dict[str, float]]:
    """Judge stored checkpoints of a run, keep their scores and move the best.

    Nothing of the run but its stored configuration and weights is needed, so this may run on
    another worker while the run is trained on. Until it is judged, none of them is pruned.

    Args:
        run: Name of the run.
        iterations: Which checkpoints. Default: those that have no scores yet.
        store: Path or URL of the weights store, or "block:" and the name of a weights store
            block. Default: the one that the settings name.

    Returns:
        iteration → ``<dataset>/<criterion>`` → score.

    Raises:
        FileNotFoundError: there is no such run or checkpoint.
    """
    url = store_url(store)
    scores: dict[int, dict[str, float]] = {}
    chosen = iterations if iterations is not None else unscored_iterations(run, url)
    with run_in_validation(run, url), protected_for_validation(run, url, chosen):
        for iteration in chosen:
            load_checkpoint(run, iteration)
            scores[iteration] = validate_live(run, iteration)
            store_best(run, url, judged=iteration)
    return completed(_line(run, scores), scores)


def _line(run: str, scores: Mapping[int, Mapping[str, float]]) -> str:
    if not scores:
        return f"{run}: every checkpoint has its scores already"
    judged = [
        f"{iteration}: {shown_scores(overall(found) or found)}"
        for iteration, found in scores.items()
    ]
    more = f" and {len(judged) - MOST_SHOWN} more" if len(judged) > MOST_SHOWN else ""
    return f"{run}: {len(judged)} validated. {'; '.join(judged[:MOST_SHOWN])}{more}"

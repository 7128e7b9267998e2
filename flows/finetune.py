"""The flow that trains a run from a start."""

from __future__ import annotations

from prefect import flow

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.retention import RetentionPolicy
from flows.run_summary import RunSummary
from flows.train import DEFAULT_RETENTION
from flows.training_loop import training_loop


@flow(name="finetune", flow_run_name="finetune {run.name}", persist_result=False)
def finetune(
    run: RunConfig,
    store: str | None = None,
    retention: RetentionPolicy = DEFAULT_RETENTION,
) -> RunSummary:
    """Fine-tune a run from its start: a published COSEM network, or any run's checkpoint.

    What was loaded is reported, kept with the run and shown; the score before the first step is
    kept as iteration 0. From there on it is the same loop as training, and continues likewise.

    Args:
        run: Everything about the run; its start_config says where it begins.
        store: Path or URL of the weights store. Default: the one that the settings name.
        retention: Which checkpoints to keep; best, latest and pinned ones always are.

    Raises:
        ValueError: the run has no start_config.
    """
    if run.start_config is None:
        raise ValueError(
            f"run {run.name!r} has no start_config: say where it starts, or use the flow train"
        )
    return training_loop(run, store, retention)

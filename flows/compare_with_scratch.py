"""The flow that shows what a start is worth: the same run, fine-tuned and from scratch."""

from __future__ import annotations

from prefect import flow

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts import StartConfig
from dacapo_core.experiments.tasks import OneHotTaskConfig
from dacapo_core.store.retention import RetentionPolicy
from flows.finetune import FINETUNED, PRETRAINED, finetune
from flows.learning_curves import Comparison, learning_curve
from flows.train import train
from tasks.runtime.open_stores import open_store

ONE_CHECKPOINT = RetentionPolicy(keep_last=1)

SOURCE = PRETRAINED.model_copy(update={"num_iterations": 160, "validation_interval": 80})
COMPARED = FINETUNED.model_copy(
    update={
        "num_iterations": 80,
        "validation_interval": 10,
        "task_config": OneHotTaskConfig(channels=FINETUNED.task_config.channels, thresholds=[0.5]),
        "start_config": StartConfig(
            run=SOURCE.name, criterion="latest", backbone_learning_rate_factor=0.25
        ),
    }
)


@flow(
    name="compare-with-scratch",
    flow_run_name="compare {run.name} with scratch",
    persist_result=False,
)
def compare_with_scratch(
    run: RunConfig = COMPARED,
    source: RunConfig = SOURCE,
    store: str | None = None,
) -> Comparison:
    """Train a source, fine-tune a run from it, and train the same run from scratch.

    Each of the three continues where it was, and is a no-op once it is complete.

    Args:
        run: The run to fine-tune. From scratch it is called the same, with "_from_scratch".
        source: The run that it starts from.
        store: Path or URL of the weights store, or "block:" and the name of a weights store
            block. Default: the one that the settings name.
    """
    scratch = run.model_copy(update={"name": f"{run.name}_from_scratch", "start_config": None})
    summaries = [
        train(source, store, ONE_CHECKPOINT),
        finetune(run, None, store, ONE_CHECKPOINT),
        train(scratch, store, ONE_CHECKPOINT),
    ]
    opened = open_store(store)
    return Comparison(
        report=opened.start_report(run.name) or {},
        finetuned=learning_curve(opened, run.name),
        scratch=learning_curve(opened, scratch.name),
        was_complete=all(summary.was_complete for summary in summaries),
    )

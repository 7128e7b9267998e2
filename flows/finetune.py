"""The flow that trains a run from a start."""

from __future__ import annotations

from dacapo_core.experiments.datasplits import SyntheticDataSplitConfig
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts import StartConfig
from dacapo_core.experiments.tasks import OneHotTaskConfig
from dacapo_core.experiments.trainers import TrainerConfig
from dacapo_core.store.retention import RetentionPolicy
from flows.flow_decorator import completed, flow
from flows.flow_run_names import flow_run_name
from flows.run_summary import RunSummary
from flows.scheduled_names import with_scheduled_name
from flows.train import DEFAULT_RETENTION
from flows.training_loop import training_loop

PRETRAINED = RunConfig(
    name="pretrained",
    num_iterations=96,
    validation_interval=32,
    task_config=OneHotTaskConfig(channels=["mito", "mito_mem", "er", "pm"]),
)
FINETUNED = RunConfig(
    name="finetuned",
    num_iterations=48,
    validation_interval=16,
    task_config=OneHotTaskConfig(channels=["ves", "pm", "mito"]),
    trainer_config=TrainerConfig(warmup_iterations=5),
    datasplit_config=SyntheticDataSplitConfig(seed=2, num_train=1, noise=0.2),
    start_config=StartConfig(
        run="pretrained",
        criterion="held_out_0/f1_score",
        # new channels are learnt at the full rate; at that rate the backbone forgets its start
        backbone_learning_rate_factor=0.25,
    ),
)


def as_trained(run: RunConfig) -> RunConfig:
    """The run under its scheduled name; one without a start_config is a change to the default."""
    if "start_config" not in run.model_fields_set:
        given = {field: getattr(run, field) for field in run.model_fields_set}
        run = RunConfig.model_validate(dict(FINETUNED) | given)
    return with_scheduled_name(run)


@flow("finetune", flow_run_name("finetune", as_trained))
def finetune(
    run: RunConfig = FINETUNED,
    source: RunConfig | None = PRETRAINED,
    store: str | None = None,
    retention: RetentionPolicy = DEFAULT_RETENTION,
    validation_deployment: str | None = None,
) -> RunSummary:
    """Fine-tune a run from its start. Without parameters no COSEM network is used.

    Then a small net learns four structures in generated volumes, and after that three, one of them
    new, in a noisier one. For a published COSEM network choose CosemStartConfig as start_config;
    for a checkpoint of any run, StartConfig. A run that is given without a start_config is the
    default one, with what is given changed.

    What was loaded is reported, kept with the run and shown; the score before the first step is
    kept as iteration 0. From there on it is the same loop as training, and continues likewise.

    Args:
        run: As it stands here, no COSEM network is used: a small net is fine-tuned on generated
            data. For a COSEM network choose CosemStartConfig as start_config and name it, as
            setup04; for a checkpoint of any run, StartConfig.
        source: A run to train first, if the start is a checkpoint of this one and it is not done.
        store: Path or URL of the weights store, or "block:" and the name of a weights store
            block. Default: the one that the settings name.
        retention: Which checkpoints to keep; best, latest and pinned ones always are.
        validation_deployment: Deployment that judges each stored checkpoint on another worker
            while training goes on, such as validate/checkpoint. Default: validate in place.

    Raises:
        ValueError: the run's start_config is null.
    """
    run = as_trained(run)
    start = run.start_config
    if start is None:
        raise ValueError(
            f"the start_config of run {run.name!r} is null: say where it starts, leave it out to "
            "take the default's, or use the flow train"
        )
    if source is not None and start.store_url in (None, store) and start.run == source.name:
        training_loop(source, store, retention, validation_deployment)
    done = training_loop(run, store, retention, validation_deployment)
    return completed(done.line(), done)

"""The flow that trains a run, or continues it."""

from __future__ import annotations

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.retention import RetentionPolicy
from flows.flow_decorator import completed, flow
from flows.flow_run_names import flow_run_name
from flows.run_summary import RunSummary
from flows.scheduled_names import with_scheduled_name
from flows.training_loop import training_loop

DEFAULT_RETENTION = RetentionPolicy(keep_last=2)


@flow("train", flow_run_name("train", with_scheduled_name))
def train(
    run: RunConfig = RunConfig(),  # noqa: B008 - a form needs its defaults here, and it is frozen in effect
    store: str | None = None,
    retention: RetentionPolicy = DEFAULT_RETENTION,
    validation_deployment: str | None = None,
) -> RunSummary:
    """Train a run, or continue it, with validation, the best kept and the rest pruned.

    The same run started again resumes from its newest whole checkpoint; a finished one is a no-op
    that says so. At most one process trains a run: a second one is refused and told who has it.

    Args:
        run: Everything about the run. Without it, a small net on generated data. "{scheduled}" in
            its name becomes the time that the flow run was scheduled for.
        store: Path or URL of the weights store, or "block:" and the name of a weights store
            block. Default: the one that the settings name.
        retention: Which checkpoints to keep; best, latest and pinned ones always are.
        validation_deployment: Deployment that judges each stored checkpoint on another worker
            while training goes on, such as validate/checkpoint. Default: validate in place.
    """
    done = training_loop(with_scheduled_name(run), store, retention, validation_deployment)
    return completed(done.line(), done)

"""Names of runs that a schedule begins, and of their flow runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from prefect.runtime import flow_run

from dacapo_core.experiments.run_config import RunConfig

PLACEHOLDER = "{scheduled}"


def scheduled_name(name: str, scheduled: datetime) -> str:
    """``{scheduled}`` in a run's name becomes the time that it was scheduled for.

    Without it a schedule would name the same run again and again: a finished one, for ever.
    """
    return name.replace(PLACEHOLDER, f"{scheduled:%Y-%m-%dT%H%M}")


def with_scheduled_name(run: RunConfig) -> RunConfig:
    """The run under the name that this flow run's schedule gives it."""
    if PLACEHOLDER not in run.name:
        return run
    return run.model_copy(update={"name": scheduled_name(run.name, flow_run.scheduled_start_time)})


def flow_run_name(flow: str, as_trained: Callable[[RunConfig], RunConfig]) -> Callable[[], str]:
    """What Prefect names the flow runs of a flow by: the flow, and the run as the store knows it.

    Args:
        as_trained: what the flow makes of the run that it is given.
    """

    def name() -> str:
        given = RunConfig.model_validate(flow_run.parameters.get("run", {}))
        return f"{flow} {as_trained(given).name}"

    return name

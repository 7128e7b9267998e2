"""Names of runs that a schedule begins: ``{scheduled}`` becomes the scheduled time."""

from __future__ import annotations

from datetime import datetime

from prefect.runtime import flow_run

from dacapo_core.experiments.run_config import RunConfig

PLACEHOLDER = "{scheduled}"


def scheduled_name(name: str, scheduled: datetime) -> str:
    """Put the scheduled time in the place of ``{scheduled}`` in a run's name.

    A schedule whose runs all had one name would train the first and find it complete ever after.
    """
    return name.replace(PLACEHOLDER, f"{scheduled:%Y-%m-%dT%H%M}")


def with_scheduled_name(run: RunConfig) -> RunConfig:
    """The run under the name that this flow run's schedule gives it."""
    if PLACEHOLDER not in run.name:
        return run
    return run.model_copy(update={"name": scheduled_name(run.name, flow_run.scheduled_start_time)})

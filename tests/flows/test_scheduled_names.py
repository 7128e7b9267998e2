"""A schedule begins a new run each time."""

from __future__ import annotations

from datetime import UTC, datetime

from dacapo_core.experiments.run_config import RunConfig
from flows.scheduled_names import scheduled_name, with_scheduled_name


def test_each_scheduled_time_names_another_run() -> None:
    template = RunConfig(name="weekly-{scheduled}").name
    first = scheduled_name(template, datetime(2026, 3, 1, 3, tzinfo=UTC))
    later = scheduled_name(template, datetime(2026, 3, 8, 3, tzinfo=UTC))
    assert first == "weekly-2026-03-01T0300"
    assert later == "weekly-2026-03-08T0300"
    assert RunConfig(name=first).name == first


def test_a_plain_name_stays() -> None:
    run = RunConfig(name="plain")
    assert with_scheduled_name(run) is run

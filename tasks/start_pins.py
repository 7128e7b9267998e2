"""A start stays pinned in its store until the run that uses it has a checkpoint of its own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tasks.live_runs import LiveRun

if TYPE_CHECKING:
    from dacapo_core.experiments.starts.start import Start


def start_of(live: LiveRun) -> Start | None:
    """What the run starts from, looked for in the run's own store unless it names another."""
    config: Any = live.run.config.start_config
    if config is None:
        return None
    if config.store_url is None:
        config = config.model_copy(update={"store_url": live.store.basedir})
    return config.start_type(config)


def pin_start(live: LiveRun, start: Start, iteration: int) -> None:
    """Keep the start's checkpoint from being pruned."""
    start.store().pin(start.run, iteration, child=live.name)
    live.start_pinned = True


def release_start(live: LiveRun) -> None:
    """Let go of the start; harmless when it is not pinned.

    Called when a checkpoint of the run itself is durable.
    """
    report = live.store.start_report(live.name)
    start = start_of(live)
    if start is None or report is None or report.get("iteration") is None:
        return
    with suppress(FileNotFoundError):
        start.store().unpin(start.run, report["iteration"], child=live.name)
    live.start_pinned = False

"""A start stays pinned in its store until the run that uses it has a checkpoint of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.live_runs import LiveRun

if TYPE_CHECKING:
    from dacapo_core.experiments.starts.start import Start


def start_of(live: LiveRun, iteration: int | None = None) -> Start | None:
    """What the run starts from, looked for in the run's own store unless it names another.

    Args:
        iteration: that checkpoint of it, whatever its criterion means by now.
    """
    config: Any = live.run.config.start_config
    if config is None:
        return None
    changed: dict[str, Any] = {}
    if config.store_url is None:
        changed["store_url"] = live.store.basedir
    if iteration is not None:
        changed["criterion"] = str(iteration)
    return config.start_type(config.model_copy(update=changed))


def release_start(live: LiveRun) -> None:
    """Let go of the start that the loading report names; harmless when it is not pinned.

    Called when a checkpoint of the run itself is durable.
    """
    report = live.store.start_report(live.name)
    iteration = None if report is None else report.get("iteration")
    start = None if iteration is None else start_of(live, iteration)
    if start is not None:
        start.unpin(live.name)
    live.start_pinned = False

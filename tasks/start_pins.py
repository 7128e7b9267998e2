"""A start stays pinned in its store until the run that uses it has a checkpoint of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.live_runs import LiveRun

if TYPE_CHECKING:
    from dacapo_core.experiments.starts import Start, StartConfig


def start_of(live: LiveRun) -> Start | None:
    """What the run starts from, looked for in the run's own store unless it names another."""
    config = live.run.config.start_config
    return None if config is None else _opened(live, config)


def release_start(live: LiveRun) -> None:
    """Let go of the start, and of the one that an earlier attempt reported; harmless if unpinned.

    Called when a checkpoint of the run itself is durable.
    """
    from dacapo_core.experiments.starts import StartConfig

    start = start_of(live)
    if start is not None:
        start.unpin(live.name)
    report = live.store.start_report(live.name)
    if report is not None and (start is None or report["run"] != start.run):
        reported = {name: report[name] for name in ("run", "criterion", "store_url")}
        _opened(live, StartConfig(**reported)).unpin(live.name)
    live.start_pinned = False


def _opened(live: LiveRun, config: StartConfig) -> Start:
    if config.store_url == live.store.basedir:
        # the store that is open has its credentials already
        config = config.model_copy(update={"store_url": None})
    return config.start_type(config, live.store)

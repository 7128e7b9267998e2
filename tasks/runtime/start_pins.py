"""A start stays pinned in its store until the run that uses it has a checkpoint of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tasks.runtime.open_stores import open_store
from tasks.runtime.runs_in_training import LiveRun
from tasks.runtime.weights_store_block import MissingStoreBlockError, is_block

if TYPE_CHECKING:
    from dacapo_core.experiments.starts import LoadingReport, Start, StartConfig


def open_start(live: LiveRun, config: StartConfig) -> Start:
    """A start with its store open: that of the run, or the path, URL or block that it names.

    Raises:
        MissingStoreBlockError: there is no such block.
    """
    store = live.store
    if config.store_url is not None and is_block(config.store_url):
        store = open_store(config.store_url)
    elif config.store_url not in (None, live.store.basedir):
        return config.start_type(config)
    # a store that is open has its credentials; the run's own settles what it writes
    opened = live.store if store.basedir == live.store.basedir else store
    return config.start_type(config.model_copy(update={"store_url": None}), opened)


def release_start(live: LiveRun) -> None:
    """Unpin the start, and the one that an earlier attempt reported; harmless if unpinned.

    To be called when a checkpoint of the run itself is durable. A start whose store is gone does
    not stop the run: a note says that it may stay pinned.
    """
    from dacapo_core.experiments.starts import StartConfig
    from dacapo_core.store.errors import DamagedRecordError

    config = live.run.config.start_config
    started_from = [] if config is None else [config]
    try:
        report = live.store.start_report(live.name)
        if report is not None and (config is None or report.get("run") != config.run):
            names = ("run", "criterion", "store_url")
            reported = {name: report[name] for name in names if name in report}
            started_from.append(StartConfig(**reported))
    except (DamagedRecordError, ValidationError) as error:
        live.progress.note(
            f"{live.name}: what it started from may stay pinned, its record is damaged: {error}"
        )
    for each in started_from:
        try:
            open_start(live, each).unpin(live.name)
        except MissingStoreBlockError as error:
            live.progress.note(f"{live.name}: {each.run} may stay pinned: {error}")
    live.start_pinned = False


def kept_report(report: LoadingReport, config: StartConfig) -> dict[str, Any]:
    """The loading report as the store keeps it; where the start is in a block, with its name."""
    kept = report.model_dump(mode="json")
    if config.store_url is not None and is_block(config.store_url):
        kept["store_url"] = config.store_url
    return kept

"""Training statistics on record, one object per stretch of training, named for its end.

The trainer alone writes them, so the loss curve of a run survives its crashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.strict_json import dumped, parsed_json, without_nan


def write_training_stats(
    filesystem: StoreFilesystem, run: str, iteration: int, stats: Mapping[str, Any]
) -> None:
    """Keep the statistics of a stretch that ended with `iteration`."""
    iteration = layout.check_iteration(iteration)
    path = layout.TRAINING.path(layout.check_run_name(run), iteration)
    filesystem.write_bytes(path, dumped(without_nan(stats), "stats"))


def read_training_stats(filesystem: StoreFilesystem, run: str) -> list[dict[str, Any]]:
    """The statistics of all stretches, by iteration; one that cannot be read is left out."""
    paths = [layout.TRAINING.path(run, iteration) for iteration in _iterations(filesystem, run)]
    contents = filesystem.read_many(paths)
    found = []
    for path in paths:
        try:
            stats = parsed_json(contents.get(path, b""))
        except ValueError:
            continue
        if isinstance(stats, dict):
            found.append(stats)
    return found


def withdraw_training_stats(filesystem: StoreFilesystem, run: str, iteration: int) -> None:
    """Forget the stretches that ended past `iteration`."""
    past = [
        layout.TRAINING.path(run, ended)
        for ended in _iterations(filesystem, run)
        if ended > iteration
    ]
    filesystem.delete_all(past)


def _iterations(filesystem: StoreFilesystem, run: str) -> list[int]:
    files = filesystem.list_files(layout.TRAINING.of(layout.check_run_name(run)))
    numbers = (
        layout.parse_iteration(file.name.removesuffix(".json"))
        for file in files
        if file.name.endswith(".json")
    )
    return sorted(number for number in numbers if number is not None)

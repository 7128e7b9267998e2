"""Disk use of many runs as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dacapo_core.store.records.run_overview import DiskLevel


def summed_levels(runs: Iterable[Sequence[DiskLevel]]) -> list[DiskLevel]:
    """The levels of all runs together, at each time at which one of them changes."""
    changes = []
    for levels in runs:
        on_disk = freed = 0
        for level in levels:
            changes.append((level.time, level.on_disk - on_disk, level.freed - freed))
            on_disk, freed = level.on_disk, level.freed
    changes.sort(key=lambda change: change[0])
    summed: list[DiskLevel] = []
    on_disk = freed = 0
    for moment, more, gone in changes:
        on_disk, freed = on_disk + more, freed + gone
        level = DiskLevel(time=moment, on_disk=on_disk, freed=freed)
        if summed and summed[-1].time == moment:
            summed[-1] = level
        else:
            summed.append(level)
    return summed

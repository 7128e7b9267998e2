"""How much memory this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def memory_bytes() -> int:
    """The machine's memory, or what its container or batch system grants."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in _limits():
        try:
            found = min(found, int(file.read_text()))
        except (OSError, ValueError):
            # not there, or "max": no limit
            continue
    return found


def free_bytes() -> int:
    """Memory that may still be taken without anything being paged out."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return memory_bytes()
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("MemAvail")), None)
    return memory_bytes() if kilobytes is None else min(memory_bytes(), 1024 * kilobytes)


def _limits() -> Iterator[Path]:
    """Files with the limits of this process's control groups, old and new kind."""
    yield _GROUPS / "memory" / "memory.limit_in_bytes"
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    own = next((line[3:].strip("/") for line in groups if line.startswith("0::")), "")
    for parent in [own, *map(str, Path(own).parents)]:
        yield _GROUPS / parent / "memory.max"

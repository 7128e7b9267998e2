"""How much memory this process may use."""

from __future__ import annotations

import os
from pathlib import Path

# limits of control groups, version 2 and 1: containers and batch systems set them
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def memory_bytes() -> int:
    """The machine's memory, or what its container or batch system grants."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in _LIMITS:
        try:
            found = min(found, int(file.read_text()))
        except (OSError, ValueError):
            # not there, or "max": no limit
            continue
    return found

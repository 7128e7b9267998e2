"""How many threads prepare batches."""

from __future__ import annotations

import os

# on a GPU threads read only, most of it outside the interpreter lock
_MOST = 8


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(device: str, cores: int, processes: int = 1) -> int:
    """Threads that suit a machine of `cores` cores, of which `processes` train.

    A quarter of a process's cores where the network is computed on them, since it uses all of
    them itself; half of them, 2 to 8, beside a GPU.
    """
    share = max(1, cores // processes)
    if device == "cpu":
        return max(1, share // 4)
    return min(_MOST, max(2, share // 2))

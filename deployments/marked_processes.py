"""Processes of this machine that have or inherited an entry in their environment."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def marked(name: str, value: str) -> dict[int, int]:
    """Process id → parent's, of running processes with that entry; empty without /proc."""
    entry = os.fsencode(f"{name}={value}")
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # the environment of a zombie is empty
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                stat = (folder / "stat").read_text()
                found[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
        except OSError:
            continue
    return found


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a process, and its group if it leads one; harmless when it has ended."""
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        pass

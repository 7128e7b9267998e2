"""Who stored, pruned or pinned a checkpoint, for the records of the store."""

from __future__ import annotations

import os
import socket

from prefect.runtime import flow_run


def who() -> str:
    """The flow run by name and id, or the host and process outside of one."""
    if flow_run.id:
        return f"flow run {flow_run.name} ({flow_run.id})"
    return f"process {os.getpid()} on {socket.gethostname()}"

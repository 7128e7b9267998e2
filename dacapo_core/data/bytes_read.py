"""How many bytes this process has read through tensorstore."""

from __future__ import annotations

import sys


def bytes_read() -> int:
    """Bytes that came from files and servers, all arrays together; 0 before the first."""
    # asked only of a process that has read something
    tensorstore = sys.modules.get("tensorstore")
    if tensorstore is None:
        return 0
    found = tensorstore.experimental_collect_matching_metrics("/tensorstore/kvstore/")
    return sum(
        int(value["value"])
        for metric in found
        if metric["name"].endswith("/bytes_read")
        for value in metric["values"]
    )

"""The one cache of decoded chunks that all arrays of a process share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dacapo_core.data.memory_limits import memory_bytes

if TYPE_CHECKING:
    import tensorstore as ts

SHARE = 1 / 8
"""Of the machine's memory that the cache takes unless it is told otherwise."""

# about 25 s until a server that is gone, or too busy, is given up
_RETRIES = {"max_retries": 6, "initial_delay": "500ms", "max_delay": "8s"}

_lock = threading.Lock()
_bytes: int | None = None
_processes = 1
_context: ts.Context | None = None


def set_cache_bytes(size: int | None) -> None:
    """Bound the cache to `size` bytes, None to `SHARE`; what it holds is given up. 0 keeps nothing.

    Raises:
        ValueError: `size` is negative.
    """
    global _bytes, _context
    if size is not None and size < 0:
        raise ValueError(f"a cache of {size} bytes; it holds 0 or more")
    with _lock:
        _bytes, _context = size, None


def divide_cache(processes: int) -> None:
    """Take no more than this process's part where `processes` on the machine read alike."""
    global _processes, _context
    with _lock:
        if _processes != processes:
            _processes, _context = processes, None


def cache_bytes() -> int:
    """The bound of the cache."""
    return int(memory_bytes() * SHARE / _processes) if _bytes is None else _bytes


def chunk_cache() -> ts.Context:
    """What arrays are opened with to share the cache; another after `set_cache_bytes`."""
    import tensorstore as ts

    global _context
    with _lock:
        if _context is None:
            _context = ts.Context(
                {
                    "cache_pool": {"total_bytes_limit": cache_bytes()},
                    "http_request_retries": _RETRIES,
                    "s3_request_retries": _RETRIES,
                    "gcs_request_retries": _RETRIES,
                }
            )
        return _context

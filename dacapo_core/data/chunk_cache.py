"""The one cache of decoded chunks that all arrays of a process share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dacapo_core.data.memory_limits import memory_bytes
from dacapo_core.data.tensorstore_kvstore import request_retries

if TYPE_CHECKING:
    import tensorstore as ts

SHARE = 1 / 8
"""Of the machine's memory that the cache takes unless it is told otherwise."""

_lock = threading.Lock()
_bytes: int | None = None
_processes = 1
_context: ts.Context | None = None


def set_cache_bytes(size: int | None) -> None:
    """Empty the cache and limit it to `size` bytes; None is `SHARE` of the memory, 0 no cache.

    Raises:
        ValueError: `size` is negative.
    """
    global _bytes, _context
    if size is not None and size < 0:
        raise ValueError(f"a cache of {size} bytes; it holds 0 or more")
    with _lock:
        _bytes, _context = size, None


def divide_cache(processes: int) -> None:
    """Limit the cache to this process's part, where `processes` on the machine have one each."""
    global _processes, _context
    with _lock:
        if _processes != processes:
            _processes, _context = processes, None


def cache_bytes() -> int:
    """The cache's limit in bytes."""
    return int(memory_bytes() * SHARE / _processes) if _bytes is None else _bytes


def chunk_cache() -> ts.Context:
    """The context that arrays are opened with; a new one after the limit was changed."""
    import tensorstore as ts

    global _context
    with _lock:
        if _context is None:
            _context = ts.Context(
                {
                    "cache_pool": {"total_bytes_limit": cache_bytes()},
                    # a server that is gone or too busy is given up after about 25 s
                    **request_retries(6, "500ms", "8s"),
                }
            )
        return _context

"""The weights stores that this process has open, by URL."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from dacapo_core.settings import get_settings

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore


def store_url(store: str | None) -> str:
    """The URL a flow was given, or the one that the settings name."""
    return store or get_settings().runs_base_dir


def open_store(store: str | None) -> LocalWeightsStore:
    """The store at a path or URL, default the one that the settings name.

    One object a URL: what a task stores in the background, the next one settles. The storage
    options of the settings apply to every store of the same protocol.
    """
    return _open(store_url(store))


@cache
def _open(url: str) -> LocalWeightsStore:
    from dacapo_core.experiments.starts.start import options_for
    from dacapo_core.store.local_weights_store import LocalWeightsStore

    return LocalWeightsStore(url, options_for(url))

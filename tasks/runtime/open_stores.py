"""The weights stores that this process has open, by URL or by the name of a block."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from dacapo_core.settings import get_settings

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore


def store_url(store: str | None) -> str:
    """What a flow was given, ``block:<name>`` as it stands, or the URL that the settings name."""
    return store or get_settings().runs_base_dir


def open_store(store: str | None) -> LocalWeightsStore:
    """The store at a path, a URL or ``block:<name>``, default the one that the settings name.

    One object each: what a task stores in the background, the next one settles. A block has
    its own storage options; those of the settings are for every path and URL.

    Raises:
        MissingStoreBlockError: the Prefect server has no such block.
    """
    return _open(store_url(store))


def place_of(store: LocalWeightsStore) -> str:
    """Where an open store is, as another worker opens it: its block, else its whole path or URL."""
    return _blocks.get(id(store), store.basedir)


# by id, of stores that stay open; the credentials of a block are not to be guessed from its URL
_blocks: dict[int, str] = {}


@cache
def _open(place: str) -> LocalWeightsStore:
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from tasks.runtime.weights_store_block import is_block, load_store_block

    if is_block(place):
        block = load_store_block(place)
        opened = LocalWeightsStore(block.url, block.storage_options.get_secret_value())
        _blocks[id(opened)] = place
        return opened
    return LocalWeightsStore(place, get_settings().storage_options)

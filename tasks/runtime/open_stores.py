"""The weights stores that this process has open, by URL or by the name of a block."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from dacapo_core.settings import get_settings

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore


def store_url(store: str | None) -> str:
    """The store that a flow was given, or else the one that the settings name."""
    return store or get_settings().runs_base_dir


def open_store(store: str | None) -> LocalWeightsStore:
    """The store at a path, a URL or ``block:<name>``, default the one that the settings name.

    Always the same object for the same place, so that one task can wait for what another stores in
    the background. A block has its own storage options; paths and URLs have those of the settings.

    Raises:
        MissingStoreBlockError: the Prefect server has no such block.
    """
    return _open(store_url(store))


def place_of(store: LocalWeightsStore) -> str:
    """How another worker opens an open store: by its block, or else its whole path or URL."""
    return _blocks.get(id(store), store.basedir)


# id of an open store → its block; a block's credentials cannot be found again by its URL
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

"""The store that the settings name (``dacapo.store.create_store``)."""

from __future__ import annotations

from dacapo_core.settings import get_settings
from dacapo_core.store.local_weights_store import LocalWeightsStore


def create_weights_store() -> LocalWeightsStore:
    """Open the store at ``DACAPO_RUNS_BASE_DIR`` with ``DACAPO_STORAGE_OPTIONS``."""
    settings = get_settings()
    return LocalWeightsStore(settings.runs_base_dir, settings.storage_options)

"""Which store a command works on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.store.metadata_store import MetadataStore


@dataclass(frozen=True)
class Where:
    """The options before the command.

    Attributes:
        store: path or URL; None: the one that the settings name.
        json: for scripts, instead of tables.
    """

    store: str | None
    storage_options: str | None
    json: bool

    def _arguments(self) -> tuple[str, dict[str, Any]]:
        from dacapo_core.settings import get_settings

        settings = get_settings()
        options = settings.storage_options
        if self.storage_options is not None:
            try:
                options = json.loads(self.storage_options)
            except ValueError as error:
                raise typer.BadParameter(f"--storage-options is not JSON: {error}") from None
            if not isinstance(options, dict):
                raise typer.BadParameter("--storage-options is not a JSON object")
        return self.store or settings.runs_base_dir, options

    def options(self) -> dict[str, Any]:
        """Options of the store's file system."""
        return self._arguments()[1]

    def records(self, *, may_be_new: bool = False) -> MetadataStore:
        """The store without its weights; opens without torch.

        Args:
            may_be_new: also one that is not there yet, to be written to.

        Raises:
            MissingStoreError: there is none.
        """
        from dacapo_core.store.metadata_store import MetadataStore

        store = MetadataStore(*self._arguments())
        if not may_be_new:
            store.require_store()
        return store

    def weights(self) -> LocalWeightsStore:
        """The store with its weights.

        Raises:
            MissingStoreError: there is none.
        """
        from dacapo_core.store.local_weights_store import LocalWeightsStore

        store = LocalWeightsStore(*self._arguments())
        store.require_store()
        return store

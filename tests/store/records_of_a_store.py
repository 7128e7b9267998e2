"""What a run's folders of records hold, for tests."""

from __future__ import annotations

import json
from typing import Any

from dacapo_core.store.local_weights_store import LocalWeightsStore


def records_of(store: LocalWeightsStore) -> set[int]:
    names = store.filesystem.file_names("run/records/checkpoints")
    return {int(name.removesuffix(".json")) for name in names}


def operations(store: LocalWeightsStore) -> list[dict[str, Any]]:
    folder = "run/records/pruned"
    names = sorted(store.filesystem.file_names(folder))
    return [json.loads(store.filesystem.read_bytes(f"{folder}/{name}")) for name in names]

"""Volumes as they are written down: one by one, as patterns, or as lines of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.datasplits.crop_patterns import crops_of
from dacapo_core.experiments.datasplits.crop_table_config import CropTableConfig


def expand_crops(volumes: Any) -> Any:
    """Each volume by itself, whichever way several were written; anything else as it is.

    Raises:
        ValueError: a pattern or a table cannot be expanded; it names what and where.
    """
    if not isinstance(volumes, list | tuple):
        return volumes
    expanded: list[Any] = []
    for volume in volumes:
        if isinstance(volume, CropTableConfig):
            expanded += volume.crops()
            continue
        values = volume.model_dump() if isinstance(volume, Configuration) else volume
        if not isinstance(values, Mapping):
            expanded.append(volume)
        elif "table" in values:
            expanded += CropTableConfig.model_validate(values).crops()
        else:
            expanded += crops_of(values)
    return expanded

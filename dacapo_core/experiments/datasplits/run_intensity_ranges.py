"""What became of the raw data of a stored run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dacapo_core.data.intensity_range import Intensities, Range
from dacapo_core.experiments.datasplits.datasets.arrays import ZarrArrayConfig


def ranges_of_run(
    config: Mapping[str, Any] | None, kept: Intensities | None
) -> dict[str, Range | None]:
    """Array → its range in a stored run; None for that of its type, as it was before one was kept.

    Args:
        config: the run's stored configuration.
        kept: what its record says.
    """
    split = (config or {}).get("datasplit_config") or {}
    found: dict[str, Range | None] = {}
    for volume in [*split.get("train_configs", []), *split.get("validate_configs", [])]:
        raw, given = volume["raw_config"], volume.get("intensity_range")
        array = ZarrArrayConfig.model_validate(raw).url
        if given is not None:
            found[array] = (given[0], given[1])
        else:
            found.setdefault(array, None if kept is None else kept.ranges.get(array))
    return found

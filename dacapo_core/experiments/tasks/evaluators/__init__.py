"""How predictions are judged."""

from __future__ import annotations

from dacapo_core.experiments.tasks.evaluators.criteria import (
    BINARY_CRITERIA,
    CRITERIA,
    bounds,
    higher_is_better,
    store_best,
)

__all__ = ["BINARY_CRITERIA", "CRITERIA", "bounds", "higher_is_better", "store_best"]

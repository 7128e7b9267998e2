"""A process reads its own writes, in whatever looks at checkpoints, on every backend."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import torch

from dacapo_core.store.records.scores import ScoresRecord

SCORES = ScoresRecord.model_validate(
    {
        "iteration": 7,
        "dataset": "val",
        "criteria": {"dice": True},
        "entries": [{"scores": {"dice": 0.5}}],
    }
)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda store: store.store_best("run", 7, "val", "dice"), None),
        (lambda store: store.pin("run", 7), None),
        (lambda store: store.request_validation("run", 7, within=timedelta(hours=1)), None),
        (lambda store: store.restore("run", 7), False),
        (lambda store: list(store.history("run").checkpoints), [7]),
        (lambda store: [best.iteration for best in store.derive_best("run").values()], [7]),
        (lambda store: store.runs(), ["run"]),
    ],
    ids=["store_best", "pin", "request_validation", "restore", "history", "derive_best", "runs"],
)
def test_a_checkpoint_in_the_making_is_seen(
    store: Any, make_state_run: Any, call: Any, expected: Any
) -> None:
    store.store_scores("run", 7, "val", SCORES)
    store.store_weights(make_state_run({"w": torch.ones(2_000_000)}), 7, wait=False)
    assert call(store) == expected

"""Checkpoints beyond the numbers that a zip file without extensions can hold."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.store.local_weights_store import LocalWeightsStore

FILE = "store/run/checkpoints/iterations/7"


@pytest.mark.campaign
def test_more_tensors_than_a_plain_zip_counts(
    local_store: LocalWeightsStore, tmp_path: Path, make_state_run: Any, same: Any
) -> None:
    state = {f"w{n}": torch.tensor([float(n)]) for n in range(66_000)}
    local_store.store_weights(make_state_run(state), 7)
    assert same(local_store.retrieve_weights("run", 7).model, state)
    assert local_store.verify("run", 7).record
    with zipfile.ZipFile(tmp_path / FILE) as archive:
        assert len(archive.namelist()) > 66_000


@pytest.mark.campaign
def test_more_bytes_than_a_plain_zip_counts(
    local_store: LocalWeightsStore, tmp_path: Path, make_state_run: Any
) -> None:
    # the large tensor needs a large size, the one behind it a large place
    state = {"large": torch.zeros(2**32 + 64, dtype=torch.uint8), "behind": torch.ones(3)}
    state["large"][-1] = 7
    local_store.store_weights(make_state_run(state), 7)
    found = torch.load(tmp_path / FILE, weights_only=True, mmap=True)["model"]
    for model in (found, local_store.retrieve_model("run", 7)):
        assert model["large"][-1] == 7
        assert model["behind"].tolist() == [1, 1, 1]
    assert local_store.verify("run", 7).record

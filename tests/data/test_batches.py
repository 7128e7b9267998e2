"""Batches depend on the seed and the iteration, and on nothing else."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dacapo_core.data.batches import BatchSource


def sample(generator: np.random.Generator) -> tuple[Any, Any, Any]:
    return generator.random((1, 2)), generator.random((3, 2)), generator.random((3, 2))


SOURCE = BatchSource(sample, seed=5, batch_size=4)


def raw(source: BatchSource, iteration: int) -> torch.Tensor:
    return torch.cat([part.raw for part in source.batch(iteration)])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_no_batch_and_keep_the_order(workers: int) -> None:
    with SOURCE.stream(3, 9, workers) as batches:
        streamed = [torch.cat([part.raw for part in batch]) for batch in batches]
    assert len(streamed) == 6
    for iteration, batch in enumerate(streamed, start=3):
        assert torch.equal(batch, raw(SOURCE, iteration))


def test_parts_and_processes_share_out_the_same_batch() -> None:
    whole = raw(SOURCE, 7)
    assert torch.equal(raw(replace(SOURCE, parts=2), 7), whole)
    ranks = [raw(replace(SOURCE, parts=2, processes=2, rank=rank), 7) for rank in (0, 1)]
    assert torch.equal(torch.cat(ranks), whole)


def test_seed_iteration_and_place_in_the_batch_all_matter() -> None:
    batch = raw(SOURCE, 0)
    assert not torch.equal(batch, raw(SOURCE, 1))
    assert not torch.equal(batch, raw(replace(SOURCE, seed=6), 0))
    assert not torch.equal(batch[0], batch[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_sampling_reaches_the_loop_and_no_thread_stays(workers: int) -> None:
    def broken(generator: np.random.Generator) -> tuple[Any, Any, Any]:
        raise ValueError("array raw of dataset a holds NaN")

    source = BatchSource(broken, seed=0, batch_size=1)
    with (
        pytest.raises(ValueError, match="holds NaN"),
        source.stream(0, 5, workers) as batches,
    ):
        next(batches)
    assert not [t for t in threading.enumerate() if t.name.startswith("batches")]


def test_leaving_early_leaves_no_thread() -> None:
    with SOURCE.stream(0, 1000, 2) as batches:
        next(batches)
    assert not [t for t in threading.enumerate() if t.name.startswith("batches")]

"""Batches depend on the seed and the iteration, and on nothing else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from dacapo_core.data.batch_source import Batch, BatchSource
from dacapo_core.data.loader import load_batches
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.training.run import Run
from tests.small_run import small_run


def read(generator: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(generator.random((7, 2)))


def make(crops: Sequence[torch.Tensor]) -> Batch:
    whole = torch.stack(list(crops))
    return Batch(whole[:, :1], whole[:, 1:4], whole[:, 4:])


CPU = torch.device("cpu")
SOURCE = BatchSource(read, make, seed=5, batch_size=4)


def raw(source: BatchSource, iteration: int) -> torch.Tensor:
    return torch.cat([part.raw for part in source.batch(iteration)])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_no_batch_and_keep_the_order(workers: int) -> None:
    with load_batches(SOURCE, CPU, 3, 9, workers) as batches:
        streamed = [torch.cat([part.raw for part in loaded.parts]) for loaded in batches]
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
def test_an_error_in_reading_reaches_the_loop_and_no_thread_stays(workers: int) -> None:
    def broken(generator: np.random.Generator) -> torch.Tensor:
        raise ValueError("array raw of dataset a holds NaN")

    source = BatchSource(broken, make, seed=0, batch_size=1)
    with (
        pytest.raises(ValueError, match="holds NaN"),
        load_batches(source, CPU, 0, 5, workers) as batches,
    ):
        next(batches)
    assert not [t for t in threading.enumerate() if t.name.startswith("batches")]


def test_leaving_early_leaves_no_thread() -> None:
    with load_batches(SOURCE, CPU, 0, 1000, 2) as batches:
        next(batches)
    assert not [t for t in threading.enumerate() if t.name.startswith("batches")]


def test_two_batches_are_ready_while_a_third_is_trained_on() -> None:
    begun = []

    def counted(generator: np.random.Generator) -> torch.Tensor:
        begun.append(1)
        return read(generator)

    source = BatchSource(counted, make, seed=0, batch_size=1)
    with load_batches(source, CPU, 0, 1000, 1) as batches:
        next(batches)
        for _ in range(200):
            if len(begun) >= 3:
                break
            time.sleep(0.01)
        assert len(begun) == 3


def test_waiting_for_a_batch_is_counted_and_training_is_not() -> None:
    def slow(generator: np.random.Generator) -> torch.Tensor:
        time.sleep(0.2)
        return read(generator)

    with load_batches(BatchSource(slow, make, seed=0, batch_size=1), CPU, 0, 3, 1) as batches:
        assert next(batches).waited >= 0.15
        time.sleep(1)
        assert next(batches).waited < 0.15


def test_threads_that_prepare_leave_the_training_its_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen = []

    def counted(crops: Sequence[torch.Tensor]) -> Batch:
        seen.append(torch.get_num_threads())
        return make(crops)

    try:
        with load_batches(BatchSource(read, counted, seed=0, batch_size=1), CPU, 0, 4, 2) as each:
            assert len(list(each)) == 4
            assert torch.get_num_threads() == 2
        assert set(seen) == {1}
    finally:
        torch.set_num_threads(before)


def test_threads_that_make_batches_at_once_share_no_chance() -> None:
    config = small_run("small", 40, 40)
    config["batch_size"] = 8
    source = Run(RunConfig.model_validate(config), "cpu").batch_source
    serial = [raw(source, iteration) for iteration in range(40)]
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with load_batches(source, CPU, 0, 40, 4) as batches:
            for expected, loaded in zip(serial, batches, strict=True):
                assert torch.equal(torch.cat([part.raw for part in loaded.parts]), expected)
                loaded.release()
    finally:
        sys.setswitchinterval(often)


def test_a_thread_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    start, begun = threading.Thread.start, list[threading.Thread]()

    def no_more(thread: threading.Thread) -> None:
        begun.append(thread)
        if len(begun) > 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_more)
    with pytest.raises(RuntimeError, match="can't start new thread"):  # noqa: SIM117
        with load_batches(SOURCE, CPU, 0, 2, 3) as batches:
            next(batches)
    begun[0].join(10)
    assert not begun[0].is_alive()

"""Training statistics survive the process that made them."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import pytest

from dacapo_core.store import layout
from dacapo_core.store.filesystems.filesystem import StoreFilesystem
from dacapo_core.store.records.training_records import (
    read_training_stats,
    withdraw_training_stats,
    write_training_stats,
)
from dacapo_core.training.training_stats import TrainingIterationStats, TrainingStats, stretches


def stretch(first: int, last: int, *, skipped: int | None = None) -> TrainingStats:
    return TrainingStats(
        2,
        [
            TrainingIterationStats(
                i, float("nan") if i == skipped else 1 / i, 0.5, 0.01, 0.25, i == skipped
            )
            for i in range(first, last + 1)
        ],
    )


@pytest.fixture
def filesystem(tmp_path: Path) -> StoreFilesystem:
    return StoreFilesystem(tmp_path)


def test_stretches_come_back_in_order_with_what_was_skipped(filesystem: StoreFilesystem) -> None:
    write_training_stats(filesystem, "r", 12, stretch(5, 12, skipped=7).record())
    write_training_stats(filesystem, "r", 4, stretch(1, 4).record())
    first, second = (
        TrainingStats.from_record(record) for record in read_training_stats(filesystem, "r")
    )
    assert first == stretch(1, 4)
    assert second.iterations == list(range(5, 13))
    assert [stats.iteration for stats in second.iteration_stats if stats.skipped] == [7]
    assert isnan(second.losses[2])
    assert second.samples_per_second == pytest.approx(8)


def test_a_stretch_trained_again_replaces_its_record(filesystem: StoreFilesystem) -> None:
    for skipped in (None, 2):
        write_training_stats(filesystem, "r", 4, stretch(1, 4, skipped=skipped).record())
    assert [record["skipped"] for record in read_training_stats(filesystem, "r")] == [[2]]


def test_withdrawing_forgets_what_is_past_the_iteration(filesystem: StoreFilesystem) -> None:
    for first, last in ((1, 4), (5, 8), (9, 12)):
        write_training_stats(filesystem, "r", last, stretch(first, last).record())
    withdraw_training_stats(filesystem, "r", 8)
    ends = [record["iteration"][-1] for record in read_training_stats(filesystem, "r")]
    assert ends == [4, 8]


def test_a_damaged_record_costs_only_itself(filesystem: StoreFilesystem) -> None:
    for first, last in ((1, 4), (5, 8)):
        write_training_stats(filesystem, "r", last, stretch(first, last).record())
    filesystem.write_bytes(layout.TRAINING.path("r", 4), b'{"iteration": [1')
    assert len(read_training_stats(filesystem, "r")) == 1


def test_a_run_without_records_has_no_statistics(filesystem: StoreFilesystem) -> None:
    assert read_training_stats(filesystem, "r") == []
    withdraw_training_stats(filesystem, "r", 0)


@pytest.mark.parametrize("damaged", [{}, {"skipped": 1}, {**stretch(1, 2).record(), "loss": [1.0]}])
def test_a_damaged_stretch_is_passed_over_with_a_warning(
    caplog: pytest.LogCaptureFixture, damaged: dict[str, object]
) -> None:
    (left,) = stretches("r", [damaged, stretch(5, 8).record()])
    assert left.iterations == [5, 6, 7, 8]
    assert "passed over a record of run 'r': no training statistics" in caplog.text

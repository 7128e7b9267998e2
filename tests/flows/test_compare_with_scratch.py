"""What a start is worth: read from the store of a run and of the same run from scratch."""

from __future__ import annotations

from pathlib import Path

import pytest

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts import LoadingReport, StartConfig
from dacapo_core.experiments.starts.loading_report import HeadRow
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoreEntry, ScoresRecord
from dacapo_core.training.training_stats import TrainingIterationStats, TrainingStats
from flows.compare_with_scratch import COMPARED, SOURCE, compare_with_scratch
from flows.learning_curves import Comparison, LearningCurve, learning_curve

FAST = LearningCurve(
    "fast",
    {0: {"dice": 0.5, "pm__dice": 0.94, "ves__dice": 0.06}, 20: {"dice": 0.85}, 30: {"dice": 0.8}},
    {0: 0.0, 20: 61.0, 30: 90.0},
)
SLOW = LearningCurve("slow", {20: {"dice": 0.3}, 40: {"dice": 0.71}}, {40: 99.0})


def test_both_are_told_in_a_few_lines() -> None:
    rows = [HeadRow(label="ves", row=0, source=None), HeadRow(label="pm", row=1, source=3)]
    report = LoadingReport(run="source", criterion="latest", head_rows=rows, share_loaded=0.995)
    said = str(Comparison(report.model_dump(), FAST, SLOW, was_complete=False))
    for line in (
        "start source/latest: 99.5% of the parameters loaded",
        "  ves        initialised anew",
        "  pm         row 3 of the source",
        "  pm         0.940",
        "  ves        0.060",
    ):
        assert line in said
    fast, slow = said.splitlines()[-2:]
    assert fast.startswith("fine-tuned ")
    assert "20 iterations, 1 min 1 s of training" in fast
    assert fast.endswith("0.850")
    assert "not within 40 iterations" in slow
    assert slow.endswith("0.710")
    assert "nothing to do" not in said
    assert "nothing to do" in str(Comparison(report.model_dump(), FAST, SLOW, was_complete=True))


def test_a_curve_is_what_the_store_holds(tmp_path: Path) -> None:
    store = LocalWeightsStore(tmp_path)
    for iteration, volume, low, high in ((0, "a", 0.1, 0.2), (4, "a", 0.5, 0.6), (4, "b", 0.9, 1)):
        entries = [
            ScoreEntry(parameters={"threshold": score}, scores={"dice": score, "voi": 9.0})
            for score in (low, high)
        ]
        record = ScoresRecord(iteration=iteration, dataset=volume, criteria={}, entries=entries)
        store.store_scores("run", iteration, volume, record)
    for end in (2, 4):
        stats = [
            TrainingIterationStats(iteration, 0.5, 1.0, 1e-3, seconds, skipped=False)
            for iteration, seconds in ((end - 1, 1.0), (end, 0.5))
        ]
        store.store_training_stats("run", end, TrainingStats(1, stats).record())
    curve = learning_curve(store, "run")
    assert curve.dice == {0: {"dice": 0.2}, 4: {"dice": 0.8}}
    assert curve.seconds == {0: 0.0, 1: 1.0, 2: 1.5, 3: 2.5, 4: 3.0}
    assert (curve.reached(0.8), curve.reached(0.81), curve.best) == (4, None, 0.8)


def test_the_two_runs_differ_by_the_start_alone() -> None:
    assert COMPARED.start_config is not None
    assert COMPARED.start_config.run == SOURCE.name
    source, target = SOURCE.task_config.channels, COMPARED.task_config.channels
    shared = set(source) & set(target)
    assert shared < set(target)
    assert sorted(shared, key=source.index) != sorted(shared, key=target.index)


@pytest.mark.slow
@pytest.mark.prefect
def test_source_and_both_runs_are_trained_and_then_complete(
    prefect_server: str, tmp_path: Path, tiny: RunConfig
) -> None:
    short = tiny.model_copy(update={"num_iterations": 2})
    source = short.model_copy(update={"name": "source"})
    start = StartConfig(run="source", criterion="latest")
    run = short.model_copy(update={"name": "run", "start_config": start})
    found = compare_with_scratch(run, source, str(tmp_path))
    store = LocalWeightsStore(tmp_path)
    assert store.runs() == ["run", "run_from_scratch", "source"]
    assert set(found.finetuned.dice) == {0, 2}
    assert set(found.scratch.dice) == {2}
    assert {"mito__dice", "pm__dice"} < set(found.finetuned.dice[0])
    stored = store.run_config("run_from_scratch")
    assert stored is not None
    plain = {"name": "run_from_scratch", "start_config": None}
    assert RunConfig.model_validate(stored) == run.model_copy(update=plain)
    assert not found.was_complete
    assert compare_with_scratch(run, source, str(tmp_path)).was_complete

"""The finetune flow: what it starts from, what it proves, and when it lets go of its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts import StartConfig
from dacapo_core.store.local_weights_store import LocalWeightsStore
from flows.finetune import FINETUNED, PRETRAINED, as_trained, finetune
from flows.train import train

pytestmark = pytest.mark.prefect


def test_the_default_fine_tunes_from_the_default_source() -> None:
    start = FINETUNED.start_config
    assert start is not None
    assert start.run == PRETRAINED.name
    source, target = PRETRAINED.task_config.channels, FINETUNED.task_config.channels
    assert set(source) & set(target) < set(target)


def test_a_run_whose_start_is_null_is_refused(tiny: RunConfig) -> None:
    with pytest.raises(ValueError, match="start_config of run 'tiny' is null"):
        finetune.fn(tiny.model_copy(update={"start_config": None}))


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, set()),
        ({"name": "x"}, {"name"}),
        ({"task_config": {"type": "one_hot", "channels": ["er"]}}, {"task_config"}),
    ],
    ids=["nothing", "name", "task"],
)
def test_a_run_without_a_start_is_a_change_to_the_default(
    given: dict[str, Any], changed: set[str]
) -> None:
    run = RunConfig.model_validate(given)
    trained = as_trained(run)
    differing = {field.partition(".")[0] for field in FINETUNED.difference(trained)}
    assert differing == changed
    assert all(getattr(trained, field) == getattr(run, field) for field in changed)


def test_a_run_with_a_start_leaves_nothing_to_the_default() -> None:
    run = RunConfig(start_config=StartConfig("source", "latest"))
    assert as_trained(run) == run


def test_a_file_without_a_start_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("name: mine\n")
    refused = subprocess.run(
        [sys.executable, "-m", "flows", "finetune", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "run.yaml: no start_config" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_run_that_is_given_a_name_alone_begins_where_the_default_does(
    prefect_server: str, tmp_path: Path
) -> None:
    source = PRETRAINED.model_copy(update={"num_iterations": 1})
    given = {"name": "x", "num_iterations": 1}
    done = finetune(given, source, str(tmp_path))
    assert (done.run, done.num_iterations) == ("x", 1)
    report = LocalWeightsStore(tmp_path).start_report("x")
    assert report is not None
    assert report["run"] == PRETRAINED.name


@pytest.mark.slow
def test_matched_channels_are_carried_over_and_the_start_is_released(
    prefect_server: str, tmp_path: Path, tiny: RunConfig
) -> None:
    source = tiny.model_copy(update={"name": "source", "num_iterations": 2})
    task = tiny.task_config.model_copy(update={"channels": ["ves", "pm"]})
    start = StartConfig(run="source", criterion="latest")
    child = tiny.model_copy(
        update={"name": "child", "num_iterations": 2, "task_config": task, "start_config": start}
    )
    done = finetune(child, source, str(tmp_path))
    assert done.run == "child"

    store = LocalWeightsStore(tmp_path)
    assert store.iterations("source") == [2]
    report = store.start_report("child")
    assert report is not None
    rows = {row["label"]: row["source"] for row in report["head_rows"]}
    assert rows == {"ves": None, "pm": 1}
    assert report["body_share_loaded"] == 1
    assert {record.iteration for record in store.scores("child")} == {0, 2}
    assert store.pins("source") == {}


@pytest.mark.slow
def test_a_start_that_is_not_there_is_said_before_anything_is_stored(
    prefect_server: str, tmp_path: Path, tiny: RunConfig
) -> None:
    train(tiny.model_copy(update={"name": "other", "num_iterations": 2}), str(tmp_path))
    child = tiny.model_copy(
        update={"name": "child", "start_config": StartConfig(run="missing", criterion="latest")}
    )
    with pytest.raises(FileNotFoundError, match=r"'missing'.*other"):
        finetune(child, None, str(tmp_path))
    assert LocalWeightsStore(tmp_path).iterations("child") == []
